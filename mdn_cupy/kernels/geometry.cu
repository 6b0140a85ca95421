// Common to the kernels: the template parameters, the geometry of a problem, the work of a warp.
//
// These files are one translation unit, in the order of mdn_cupy/cuda/kernel_source.py. They are
// plain CUDA C++17 for NVRTC and include nothing.

enum Rule { NOISY_OR, ADDITIVE, PLAIN_SUM };

constexpr int WARP_SIZE = 32;
constexpr int WARPS = 4;              // of a block; they never meet
constexpr unsigned ALL = 0xffffffffu; // every lane takes part
constexpr int AXES = 8;               // leading axes left after merging

// One leading axis: its length, and its stride in elements in every array; 0 where broadcast or,
// for the map, aggregated.
struct Axis {
    long long size, confidence, offsets, sigma, map;
};

// Passed by value: it lies in the constant bank, which all threads read at once. Every field is 64
// bits wide, so that the host's structure and this one cannot differ by padding.
struct Geometry {
    Axis axes[AXES];
    long long axis_count;
    long long height, width;                                    // of the fields
    long long map_height, map_width;                            // of the vote maps
    long long confidence_row, confidence_column;                // strides in elements
    long long offsets_component, offsets_row, offsets_column;
    long long sigma_row, sigma_column;
    long long map_row, map_column;
    long long stride_y, stride_x, origin_y, origin_x;           // the bits of float64
    long long patches, patches_down, patches_across;            // see Patch
    long long patch_columns_log2, patch_rows;
};

// A patch is the work of a warp, or of several (accumulate.cu): up to 32 neighbouring sources of one
// plane, one per lane. Each lane reads and prepares its own source; then the warp casts them
// together, one after another, with the lanes on the pixels of the window. Neighbours tend to vote
// for the same place, which lets the warp add their votes up before it goes to memory.
struct Patch {
    long long plane;                            // in the C order of the batch
    long long confidence, offsets, sigma, map;  // where the plane begins in each array, in elements
    int row, column;                            // of this lane's source
    bool source;                                // whether there is one
};

__device__ inline Patch patch_of(const Geometry &geometry, unsigned index, int lane)
{
    Patch patch = {};
    const int columns_log2 = (int)geometry.patch_columns_log2;
    const int lane_row = lane >> columns_log2, lane_column = lane - (lane_row << columns_log2);
    const unsigned across = (unsigned)geometry.patches_across;
    const unsigned down = (unsigned)geometry.patches_down;
    patch.column = ((int)(index % across) << columns_log2) + lane_column;
    patch.row = (int)(index / across % down) * (int)geometry.patch_rows + lane_row;
    patch.plane = index / across / down;
    patch.source = lane_row < geometry.patch_rows && patch.row < geometry.height
                   && patch.column < geometry.width;

    unsigned left = (unsigned)patch.plane;
    #pragma unroll 1
    for (int n = (int)geometry.axis_count - 1; n >= 0; --n) {
        const Axis &axis = geometry.axes[n];
        const unsigned position = left % (unsigned)axis.size;
        left /= (unsigned)axis.size;
        patch.confidence += position * axis.confidence;
        patch.offsets += position * axis.offsets;
        patch.sigma += position * axis.sigma;
        patch.map += position * axis.map;
    }
    return patch;
}

// Patches are numbered in 32 bits (the host sees to it): division is cheap there. Whatever counts
// elements of an array is 64 bits wide.
__device__ inline unsigned first_warp()
{
    return blockIdx.x * WARPS + threadIdx.x / WARP_SIZE;
}

__device__ inline unsigned warp_count() { return gridDim.x * WARPS; }
