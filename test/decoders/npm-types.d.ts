/** What is used of decoders that come without types. */
declare module 'omggif' {
  interface FrameInfo {
    x: number
    y: number
    width: number
    height: number
    delay: number
    disposal: number
    transparent_index: number | null
  }
  export class GifReader {
    width: number
    height: number
    constructor (file: Uint8Array)
    numFrames (): number
    frameInfo (frame: number): FrameInfo
    decodeAndBlitFrameRGBA (frame: number, pixels: Uint8Array): void
  }
  const omggif: { GifReader: typeof GifReader }
  export default omggif
}

declare module 'pngjs' {
  export const PNG: { sync: { read: (file: Buffer) => { width: number, height: number, data: Buffer } } }
}

declare module 'upng-js' {
  interface Picture { width: number, height: number }
  const UPNG: { decode: (file: ArrayBuffer) => Picture, toRGBA8: (picture: Picture) => ArrayBuffer[] }
  export default UPNG
}
