// Forward: every source adds its term φ(w·c) to the pixels in its window.
//
// Cost of a vote (one source, one pixel): two loads from shared memory, one multiply, one
// multiply-add and one logarithm (noisy-or), and its share of an atomic. Exponentials: R + C for a
// window of R·C pixels while its group fits the tile (σ up to 2); beyond, C again for every piece.
//
// Contention. In an MDN the collapse is the normal case: whole regions vote for a few pixels.
// One atomic per vote would then queue at a handful of addresses, which the L2 cache serves one at
// a time, and even without contention atomics, not arithmetic, would set the speed. So a warp first
// gathers those of its 32 sources whose windows lie together (within MARGIN of one another) and
// adds up their votes in a tile in shared memory, with plain adds, one source after another; then
// it sends one atomic per pixel of the tile. A collapsed patch costs one window of atomics instead
// of 32, and a smooth offset field little more. A source on its own goes straight to the map.
// Neither sends an atomic for a vote of 0, an empty window or a confidence of 0.
//
// Small problems: a patch is then shared by gridDim.y warps, each on its slice of the rows of what
// the patch votes for, so that there is work for the whole device.
//
// Which sources a warp adds up for a pixel, and in which order, follows from the fields alone: not
// from the batch around them, and not from the grid, whose slices part pixels and never the votes
// for one. fixed_point.cu says why the map then comes out the same, to the bit, for any order of
// warps.

constexpr int TILE_BYTES = 2048;  // per warp: a window of sigma 2 and its neighbours' in float
constexpr int MARGIN = 8;         // pixels by which windows may differ and still be added up

// The working memory of a warp.
template <typename T> struct AccumulateScratch {
    static constexpr int tile_pixels = TILE_BYTES / sizeof(T);
    Vote<T> votes[WARP_SIZE];
    Factor<T> factors[2 * SPAN];  // of a part's columns, then of its rows
    T tile[tile_pixels];          // zero but while a group is cast
};

// Those waiting lanes whose window lies with the leader's.
__device__ inline unsigned companions(const Box &leader, const Box &own, unsigned waiting)
{
    const bool together = own.row >= leader.row - MARGIN && own.column >= leader.column - MARGIN
                          && own.row + own.rows <= leader.row + leader.rows + MARGIN
                          && own.column + own.columns <= leader.column + leader.columns + MARGIN;
    return __ballot_sync(ALL, together) & waiting;
}

// The smallest box around the windows of the members.
__device__ inline Box box_around(const Box &own, bool member)
{
    const int none = 0x7fffffff;
    const int row = least_of_warp(member ? own.row : none);
    const int column = least_of_warp(member ? own.column : none);
    const int end_row = -least_of_warp(member ? -(own.row + own.rows) : none);
    const int end_column = -least_of_warp(member ? -(own.column + own.columns) : none);
    return {row, column, end_row - row, end_column - column};
}

// Of this block's slice of the rows.
__device__ inline Box slice_of(const Box &box)
{
    const int first = box.rows * (int)blockIdx.y / (int)gridDim.y;
    const int end = box.rows * ((int)blockIdx.y + 1) / (int)gridDim.y;
    return {box.row + first, box.column, end - first, box.columns};
}

template <typename T, int RULE>
__device__ inline void tabulate(const Vote<T> &vote, const Box &part, int lane, Factor<T> *factors)
{
    __syncwarp();  // the last part's factors are no longer read
    #pragma unroll 1
    for (int n = lane; n < part.columns + part.rows; n += WARP_SIZE) {
        factors[n] = factor_of<T, RULE>(vote, n >= part.columns, scaled_distance(vote, part, n),
                                        vote.confidence * vote.scale);
    }
    __syncwarp();
}

// Sends what a piece of the tile has gathered to the map, and clears it.
template <typename T, typename Sum>
__device__ inline void flush(T *tile, const Box &piece, Sum *map, int map_width, T scale, int lane)
{
    Sum *corner = map + (long long)piece.row * map_width + piece.column;
    __syncwarp();
    each_pixel(piece, lane, [&](int row, int column) {
        T &gathered = tile[row * piece.columns + column];
        deposit(corner + row * map_width + column, gathered, scale);
        gathered = 0;
    });
}

// Casts a group of votes into a box, piece by piece: through the tile, or straight.
template <typename T, int RULE, bool TILED, typename Sum>
__device__ inline void cast(AccumulateScratch<T> &scratch, unsigned group, const Box &box, Sum *map,
                            int map_width, T scale, int lane)
{
    const int columns = min(box.columns, SPAN);
    const int rows = TILED ? min(SPAN, AccumulateScratch<T>::tile_pixels / columns) : SPAN;
    for (int top = 0; top < box.rows; top += rows) {
        for (int left = 0; left < box.columns; left += columns) {
            const Box piece = {box.row + top, box.column + left, min(rows, box.rows - top),
                               min(columns, box.columns - left)};
            for (unsigned waiting = group; waiting; waiting &= waiting - 1) {
                const Vote<T> &vote = scratch.votes[__ffs((int)waiting) - 1];
                const Box part = intersection(piece, window_of(vote));
                if (part.rows <= 0 || part.columns <= 0) {
                    continue;
                }
                tabulate<T, RULE>(vote, part, lane, scratch.factors);
                const Factor<T> *of_column = scratch.factors, *of_row = of_column + part.columns;
                if (TILED) {
                    T *tile = scratch.tile + (part.row - piece.row) * piece.columns + part.column
                              - piece.column;
                    each_pixel(part, lane, [&](int row, int column) {
                        tile[row * piece.columns + column] +=
                            term_of<T, RULE>(of_column[column], of_row[row]);
                    });
                } else {
                    Sum *corner = map + (long long)part.row * map_width + part.column;
                    each_pixel(part, lane, [&](int row, int column) {
                        const T phi = term_of<T, RULE>(of_column[column], of_row[row]);
                        deposit(corner + row * map_width + column, phi, scale);
                    });
                }
            }
            if (TILED) {
                flush(scratch.tile, piece, map, map_width, scale, lane);
            }
        }
    }
}

// Σφ into zeroed sums [maps, map_height, map_width]: in 64-bit fixed point, or in T itself with no
// peaks. The strides `map` of the axes count maps here.
template <typename T, int RULE, typename Sum>
__global__ void accumulate(Geometry geometry, const T *confidence, const T *offsets,
                           const T *sigma, T width, T truncate, Sum *sums, const int *peaks,
                           int bits)
{
    __shared__ AccumulateScratch<T> scratches[WARPS];
    AccumulateScratch<T> &scratch = scratches[threadIdx.x / WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE;
    for (int n = lane; n < AccumulateScratch<T>::tile_pixels; n += WARP_SIZE) {
        scratch.tile[n] = 0;
    }
    for (unsigned n = first_warp(); n < geometry.patches; n += warp_count()) {
        const Patch patch = patch_of(geometry, n, lane);
        Vote<T> &vote = scratch.votes[lane];
        __syncwarp();  // the last patch's votes are no longer read
        prepare<T, RULE>(geometry, patch, confidence, offsets, sigma, width, truncate, &vote);
        __syncwarp();
        Sum *map = sums + patch.map * geometry.map_height * geometry.map_width;
        const T scale = peaks ? Scale<T>::power(fraction_bits<T>(bits, peaks[patch.map])) : 1;
        unsigned waiting =
            __ballot_sync(ALL, vote.x.count > 0 && vote.y.count > 0 && vote.confidence != 0);
        while (waiting) {
            const Box own = window_of(vote);
            const Box window = window_of(scratch.votes[__ffs((int)waiting) - 1]);
            const unsigned group = companions(window, own, waiting);
            waiting &= ~group;
            if (group & (group - 1)) {
                const Box box = slice_of(box_around(own, group >> lane & 1));
                cast<T, RULE, true>(scratch, group, box, map, (int)geometry.map_width, scale, lane);
            } else {
                cast<T, RULE, false>(scratch, group, slice_of(window), map,
                                     (int)geometry.map_width, scale, lane);
            }
        }
    }
}

