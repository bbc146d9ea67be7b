/** Pixels of one side of a picture. */
export const MAX_SIDE = 16_384
export const MAX_FRAME_PIXELS = 50_000_000
/** Pixels of a picture in several passes (interlaced, progressive), which must be in memory whole. */
export const MAX_PIXELS_IN_PASSES = 16_000_000
export const MAX_FRAMES = 1000
/** Pixels of all frames together. */
export const MAX_PIXELS = 200_000_000
/** Seconds to decode a picture. */
export const DECODE_SECONDS = 10
