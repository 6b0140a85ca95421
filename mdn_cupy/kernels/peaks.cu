// The pixels at which maps peak.
//
// A peak may be a plateau of any shape, so pixels of one value are joined first, in a forest: the
// label of a pixel is the number of another pixel of its plateau, of its own if it is the root, the
// plateau's first pixel. Labels only ever fall, by atomic minima, so the roots do not depend on the
// order of the threads. A negative label ends every way up:
//
//     NO_PEAK      too low, or a neighbour is higher than some pixel of the plateau
//     −2 − n       the root of the n-th plateau that is a peak, in no order
//
// Each of the steps is a launch, since a step needs all of the one before: label, unite, reject,
// number, sum, middle, place. Most pixels have no label, and cost the first step 1 to 9 loads and
// each of the others one.
//
// Then `space_peaks` drops what is near a stronger peak.

constexpr long long NO_PEAK = -1;

// Rows are counted over all maps. Every field is 64 bits wide, as in Geometry.
struct Maps {
    long long rows, height, width;
    long long map_stride, row_stride, column_stride;  // of the evidence, in elements
};

template <typename Visit> __device__ inline void each_pixel_of_maps(const Maps &maps, Visit visit)
{
    for (long long row = blockIdx.y; row < maps.rows; row += gridDim.y) {
        for (long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x;
             column < maps.width; column += (long long)gridDim.x * blockDim.x) {
            visit(row, column);
        }
    }
}

// The value of a pixel and those around it; a neighbour beyond the edge is the pixel itself.
template <typename T> struct Neighbourhood {
    const T *pixel;
    long long row_stride, column_stride;
    bool up, down, left, right;

    __device__ T value() const { return *pixel; }
    __device__ bool has(int i, int j) const
    {
        return (i == 0 || (i < 0 ? up : down)) && (j == 0 || (j < 0 ? left : right));
    }
    __device__ T at(int i, int j) const { return pixel[i * row_stride + j * column_stride]; }
};

template <typename T>
__device__ inline Neighbourhood<T> around(const Maps &maps, const T *evidence, long long row,
                                          long long column)
{
    const long long map = row / maps.height, i = row - map * maps.height;
    return {evidence + map * maps.map_stride + i * maps.row_stride + column * maps.column_stride,
            maps.row_stride, maps.column_stride, i > 0, i < maps.height - 1, column > 0,
            column < maps.width - 1};
}

// Whether a neighbour is higher, and whether one is as high; NaN is neither.
struct Comparison {
    bool higher, equal;
};

template <typename T> __device__ inline Comparison compared(const Neighbourhood<T> &near)
{
    const T value = near.value();
    Comparison found = {false, false};
    #pragma unroll 1
    for (int i = -1; i <= 1; ++i) {
        #pragma unroll 1
        for (int j = -1; j <= 1; ++j) {
            if ((i != 0 || j != 0) && near.has(i, j)) {
                found.higher |= near.at(i, j) > value;
                found.equal |= near.at(i, j) == value;
            }
        }
    }
    return found;
}

// The pixel whose label is its own number or negative. Other threads may move it meanwhile; what was
// read before is then still on the way to it.
__device__ inline long long root_of(const volatile long long *labels, long long pixel)
{
    long long next = labels[pixel];
    while (next >= 0 && next != pixel) {
        pixel = next;
        next = labels[pixel];
    }
    return pixel;
}

__device__ inline void unite(long long *labels, long long a, long long b)
{
    for (;;) {
        a = root_of(labels, a);
        b = root_of(labels, b);
        if (a == b) {
            return;
        }
        const long long higher = max(a, b), lower = min(a, b);
        a = atomicMin(labels + higher, lower);
        if (a == higher) {
            return;
        }
        b = lower;  // another thread was faster: what it found belongs to the lower one as well
    }
}

// Labels [rows, width]: its own number for every pixel of at least the threshold that may belong to
// a peak.
template <typename T>
__global__ void label_peaks(Maps maps, const T *evidence, T threshold, long long *labels)
{
    each_pixel_of_maps(maps, [&](long long row, long long column) {
        const Neighbourhood<T> near = around(maps, evidence, row, column);
        const long long pixel = row * maps.width + column;
        bool candidate = near.value() >= threshold;
        if (candidate) {
            const Comparison found = compared(near);
            candidate = found.equal || !found.higher;
        }
        labels[pixel] = candidate ? pixel : NO_PEAK;
    });
}

template <typename T>
__global__ void unite_plateaus(Maps maps, const T *evidence, long long *labels)
{
    each_pixel_of_maps(maps, [&](long long row, long long column) {
        const long long pixel = row * maps.width + column;
        if (labels[pixel] < 0) {
            return;
        }
        const Neighbourhood<T> near = around(maps, evidence, row, column);
        #pragma unroll 1
        for (int n = 0; n < 4; ++n) {  // the neighbours that come before in reading order
            const int i = n < 3 ? -1 : 0, j = n < 3 ? n - 1 : -1;
            if (near.has(i, j) && near.at(i, j) == near.value()) {
                unite(labels, pixel, pixel + i * maps.width + j);
            }
        }
    });
}

template <typename T>
__global__ void reject_plateaus(Maps maps, const T *evidence, long long *labels)
{
    each_pixel_of_maps(maps, [&](long long row, long long column) {
        const long long pixel = row * maps.width + column;
        if (labels[pixel] >= 0 && compared(around(maps, evidence, row, column)).higher) {
            labels[root_of(labels, pixel)] = NO_PEAK;
        }
    });
}

// Counts the peaks that are left, into a zeroed count, and numbers them.
__global__ void number_peaks(Maps maps, long long *labels, unsigned long long *count)
{
    each_pixel_of_maps(maps, [&](long long row, long long column) {
        const long long pixel = row * maps.width + column;
        if (labels[pixel] == pixel) {
            labels[pixel] = -2 - (long long)atomicAdd(count, 1ull);
        }
    });
}

// The number of the peak to which a pixel belongs, or a negative one.
__device__ inline long long peak_of(const long long *labels, long long pixel)
{
    return -2 - labels[root_of(labels, pixel)];
}

// Pixels of every peak, and the sums of their rows and columns, into zeroed sums [peaks, 3].
__global__ void sum_plateaus(Maps maps, const long long *labels, unsigned long long *sums)
{
    each_pixel_of_maps(maps, [&](long long row, long long column) {
        const long long peak = peak_of(labels, row * maps.width + column);
        if (peak >= 0) {
            atomicAdd(sums + 3 * peak, 1ull);
            atomicAdd(sums + 3 * peak + 1, (unsigned long long)row);
            atomicAdd(sums + 3 * peak + 2, (unsigned long long)column);
        }
    });
}

// Of the pixels of a plateau, the one with the highest nearness is nearest to their mean: in rows,
// then in columns, and of two the upper or the left one. No two have the same, and none has 0.
__device__ inline long long nearness(const unsigned long long *sums, long long row,
                                     long long column)
{
    const long long size = (long long)sums[0];
    const long long i = row - (2 * (long long)sums[1] + size - 1) / (2 * size);
    const long long j = column - (2 * (long long)sums[2] + size - 1) / (2 * size);
    const long long rows = 2 * (i < 0 ? -i : i) + (i > 0);
    const long long columns = 2 * (j < 0 ? -j : j) + (j > 0);
    return (1ll << 62) - (rows << 31) - columns;  // no side is longer than 2^30: cuda/launch_plan.py
}

__global__ void find_middles(Maps maps, const long long *labels, const unsigned long long *sums,
                             long long *nearest)
{
    each_pixel_of_maps(maps, [&](long long row, long long column) {
        const long long peak = peak_of(labels, row * maps.width + column);
        if (peak >= 0) {
            atomicMax(nearest + peak, nearness(sums + 3 * peak, row, column));
        }
    });
}

__global__ void place_peaks(Maps maps, const long long *labels, const unsigned long long *sums,
                            const long long *nearest, long long *places)
{
    each_pixel_of_maps(maps, [&](long long row, long long column) {
        const long long pixel = row * maps.width + column, peak = peak_of(labels, pixel);
        if (peak >= 0 && nearness(sums + 3 * peak, row, column) == nearest[peak]) {
            places[peak] = pixel;
        }
    });
}

// Spacing ------------------------------------------------------------------------------------------

// Maps are cut into square cells as wide as the least distance, so that what is nearer than that to
// a peak lies in the 3 × 3 cells around it.
struct Spacing {
    long long maps, height, width;
    long long side, down, across;  // of cells
    long long reach;               // squared distances below this are too near
    long long peaks;
};

enum State { WAITING, KEPT, DROPPED };

// The first of n values, of which none follows a larger one where it matters, that is not below.
__device__ inline long long first_not_below(const long long *values, long long n, long long least)
{
    long long first = 0;
    while (n > 0) {
        const long long half = n / 2;
        if (values[first + half] < least) {
            first += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return first;
}

// The state of a peak, from those of the stronger ones near it: kept, dropped or undecided.
__device__ inline State settled(const Spacing &spacing, const long long *places,
                                const long long *cells, const long long *order,
                                const volatile int *states, long long peak)
{
    const long long row = places[peak] / spacing.width, map = row / spacing.height;
    const int i = (int)(row - map * spacing.height), j = (int)(places[peak] - row * spacing.width);
    const int side = (int)spacing.side;
    const int bottom = min(i / side + 1, (int)spacing.down - 1);
    const int left = max(j / side - 1, 0), right = min(j / side + 1, (int)spacing.across - 1);
    bool waiting = false;
    #pragma unroll 1
    for (int cell_row = max(i / side - 1, 0); cell_row <= bottom; ++cell_row) {
        const long long start = (map * spacing.down + cell_row) * spacing.across + left;
        #pragma unroll 1
        for (long long n = first_not_below(cells, spacing.peaks, start);
             n < spacing.peaks && cells[n] <= start + (right - left); ++n) {
            const long long other = order[n];
            if (other >= peak || states[other] == DROPPED) {
                continue;
            }
            const long long y = places[other] / spacing.width - row;
            const long long x = places[other] % spacing.width - j;
            if (y * y + x * x < spacing.reach) {
                if (states[other] == KEPT) {
                    return DROPPED;
                }
                waiting = true;
            }
        }
    }
    return waiting ? WAITING : KEPT;
}

// Decides every peak, into zeroed states [peaks]. A block has all peaks of a map, the strongest
// first: one is decided when all stronger ones near it are, or one of them is kept. Rounds are
// repeated until all are; the strongest undecided one is always decided in a round. A decision is
// final, and so the order in which threads read and write the states does not matter.
//
// places: by map, evidence descending, position. cells: the cell of each peak, sorted, and order:
// which peak that is.
__global__ void space_peaks(Spacing spacing, const long long *places, const long long *cells,
                            const long long *order, int *states)
{
    __shared__ int waiting;
    const long long pixels = spacing.height * spacing.width;
    for (long long map = blockIdx.x; map < spacing.maps; map += gridDim.x) {
        const long long first = first_not_below(places, spacing.peaks, map * pixels);
        const long long last = first_not_below(places, spacing.peaks, (map + 1) * pixels);
        int again = first < last;
        while (again) {
            __syncthreads();  // all threads have read the result of the last round
            waiting = 0;
            __syncthreads();
            for (long long peak = first + threadIdx.x; peak < last; peak += blockDim.x) {
                if (states[peak] == WAITING) {
                    const State state = settled(spacing, places, cells, order, states, peak);
                    states[peak] = state;
                    if (state == WAITING) {
                        waiting = 1;
                    }
                }
            }
            __syncthreads();
            again = waiting;
        }
    }
}
