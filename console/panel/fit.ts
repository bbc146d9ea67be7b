import type { Fit } from '../api.js'
import { SIDE } from './animation.js'

export const FITS: Array<{ fit: Fit, words: string, hint: string }> = [
  { fit: 'contain', words: 'Whole', hint: 'All of it, on black' },
  { fit: 'cover', words: 'Filled', hint: 'The edges are cut' },
  { fit: 'fill', words: 'Stretched', hint: 'The shape changes' }
]

type Rectangle = [x: number, y: number, width: number, height: number]

/** The place of a picture on the panel: what the API's `fit` says. */
export function placeOf (fit: Fit, width: number, height: number): Rectangle {
  if (fit === 'fill') return [0, 0, SIDE, SIDE]
  const scale = (fit === 'contain' ? Math.min : Math.max)(SIDE / width, SIDE / height)
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))]
  return [Math.floor((SIDE - w) / 2), Math.floor((SIDE - h) / 2), w, h]
}

export function drawFitted (fit: Fit) {
  return (context: CanvasRenderingContext2D, picture: CanvasImageSource, width: number, height: number): void => {
    const place = placeOf(fit, width, height)
    // the server enlarges by repetition where the factor is whole
    context.imageSmoothingEnabled = place[2] % width !== 0 || place[3] % height !== 0
    context.imageSmoothingQuality = 'high'
    context.drawImage(picture, ...place)
  }
}
