import { DEFAULT_MS, gifDelays } from './gif-delays.js'

export const SIDE = 64
const FRAME_BYTES = SIDE * SIDE * 4
const ANIMATED_TYPES = ['image/gif', 'image/webp'] // of an animated PNG the server takes the default image

/** Frames of 64x64 pixels, and the milliseconds that each is shown. A still has one frame. */
export interface Animation { frames: ImageData[], delays: number[] }

/** Draws one decoded picture, of any size, on a canvas of 64x64. */
type Draw = (context: CanvasRenderingContext2D, picture: CanvasImageSource, width: number, height: number) => void

/** Whether this browser decodes animations (WebCodecs). Pages that are not on HTTPS or localhost cannot. */
export const canDecode = 'ImageDecoder' in window

/**
 * Decodes a picture. Gives one list of frames for each way to draw it, and no more than `maxFrames`. A browser that
 * cannot decode animations gets the first frame.
 */
export async function decode (
  bytes: ArrayBuffer,
  type: string,
  draws: Draw[],
  { maxFrames = Infinity, signal }: { maxFrames?: number, signal?: AbortSignal } = {}
): Promise<Animation[]> {
  const surfaces = draws.map(draw => ({ draw, context: newContext(), frames: [] as ImageData[] }))
  const delays: number[] = []
  const add = (picture: CanvasImageSource, width: number, height: number) => {
    for (const { draw, context, frames } of surfaces) {
      context.fillStyle = '#000'
      context.fillRect(0, 0, SIDE, SIDE)
      draw(context, picture, width, height)
      frames.push(context.getImageData(0, 0, SIDE, SIDE))
    }
  }
  if (canDecode && ANIMATED_TYPES.includes(type)) {
    const decoder = new ImageDecoder({ data: bytes, type })
    try {
      await Promise.all([decoder.tracks.ready, decoder.completed]) // only then the number of frames is final
      const { frameCount } = decoder.tracks.selectedTrack!
      const exact = type === 'image/gif' ? gifDelays(new Uint8Array(bytes)) : []
      for (let frameIndex = 0; frameIndex < Math.min(frameCount, maxFrames); frameIndex++) {
        signal?.throwIfAborted()
        const { image } = await decoder.decode({ frameIndex })
        add(image, image.displayWidth, image.displayHeight)
        delays.push(exact[frameIndex] ?? (image.duration || DEFAULT_MS * 1000) / 1000)
        image.close()
      }
    } finally {
      decoder.close()
    }
  } else {
    const picture = await createImageBitmap(new Blob([bytes], { type })) // upright, as its orientation says
    add(picture, picture.width, picture.height)
    delays.push(0)
    picture.close()
  }
  return surfaces.map(({ frames }) => ({ frames, delays }))
}

function newContext (): CanvasRenderingContext2D {
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = SIDE
  return canvas.getContext('2d', { willReadFrequently: true })!
}

/** Decoded renditions, the least recently used first. A short one has 16 kB, one of 1,000 frames 16 MB. */
const kept = new Map<string, Animation>()
const MAX_KEPT_BYTES = 64 * 1024 * 1024
let keptBytes = 0

/** The frames of a rendition. Rejects where the store does not let pages read it. */
export async function loadRendition (url: string, type: string, signal: AbortSignal): Promise<Animation> {
  const found = kept.get(url)
  if (found) {
    kept.delete(url)
    kept.set(url, found)
    return found
  }
  const load = loads.get(url) ?? startLoad(url, type)
  load.waiting++
  const leave = () => {
    if (--load.waiting > 0) return
    loads.delete(url)
    load.end.abort()
  }
  signal.addEventListener('abort', leave, { once: true })
  return await load.animation.finally(() => { signal.removeEventListener('abort', leave) })
}

/** A rendition that is loaded, for each panel that waits for it. It ends when none waits any more. */
interface Load { animation: Promise<Animation>, waiting: number, end: AbortController }
const loads = new Map<string, Load>()

function startLoad (url: string, type: string): Load {
  const end = new AbortController()
  const animation = fetchAnimation(url, type, end.signal)
  const load = { animation, waiting: 0, end }
  loads.set(url, load)
  animation.catch(() => {}).finally(() => { if (loads.get(url) === load) loads.delete(url) })
  return load
}

async function fetchAnimation (url: string, type: string, signal: AbortSignal): Promise<Animation> {
  const response = await fetch(url, { signal, credentials: 'omit' })
  if (!response.ok) throw new Error(`the store answered ${response.status}`)
  const bytes = await response.arrayBuffer()
  const draws: Draw[] = [(context, picture) => context.drawImage(picture, 0, 0, SIDE, SIDE)]
  const [animation] = await inTurn(() => decode(bytes, type, draws, { signal }))
  keep(url, animation!)
  return animation!
}

const MAX_DECODES = 2
let decodes = 0
const waiting: Array<() => void> = []

/** Runs a decode when fewer than MAX_DECODES run. */
async function inTurn<T> (task: () => Promise<T>): Promise<T> {
  if (decodes < MAX_DECODES) decodes++
  else await new Promise<void>(resolve => { waiting.push(resolve) }) // takes over the place of the one that ends
  try {
    return await task()
  } finally {
    const next = waiting.shift()
    if (next) next()
    else decodes--
  }
}

function keep (url: string, animation: Animation): void {
  if (kept.has(url)) return
  kept.set(url, animation)
  keptBytes += animation.frames.length * FRAME_BYTES
  for (const [oldest, { frames }] of kept) {
    if (keptBytes <= MAX_KEPT_BYTES) break
    kept.delete(oldest)
    keptBytes -= frames.length * FRAME_BYTES
  }
}
