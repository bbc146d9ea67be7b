import { SIDE } from './animation.js'
import { placeOf } from './fit.js'

const GAP = '#050506'
const OFF = '#17191b'
/** The radius of an LED, as a share of its cell. */
const RADIUS = 0.44

const scratch = document.createElement('canvas')
scratch.width = scratch.height = SIDE
const scratchContext = scratch.getContext('2d')!
const MAX_MASKS = 4
const masks = new Map<number, HTMLCanvasElement>()

/**
 * Paints a frame, or the first one of a picture, as round LEDs on a canvas whose side is a multiple of 64. A picture of
 * another origin makes the canvas unreadable for the page, which does not read it.
 */
export function paint (context: CanvasRenderingContext2D, frame: ImageData | HTMLImageElement): void {
  const { width } = context.canvas
  const isPicture = frame instanceof HTMLImageElement
  if (!isPicture) scratchContext.putImageData(frame, 0, 0)
  context.imageSmoothingEnabled = isPicture && frame.naturalWidth > SIDE
  context.globalCompositeOperation = 'source-over'
  context.fillStyle = OFF
  context.fillRect(0, 0, width, width)
  context.globalCompositeOperation = 'lighten' // an LED that is off is still seen
  if (isPicture) drawWhole(context, frame)
  else context.drawImage(scratch, 0, 0, width, width)
  context.globalCompositeOperation = 'source-over'
  context.drawImage(maskOf(width / SIDE), 0, 0)
}

function drawWhole (context: CanvasRenderingContext2D, picture: HTMLImageElement): void {
  const cell = context.canvas.width / SIDE
  const [x, y, width, height] = placeOf('contain', picture.naturalWidth, picture.naturalHeight)
  context.drawImage(picture, x * cell, y * cell, width * cell, height * cell)
}

/** The gaps between the LEDs: a sheet with a round hole for each. Made once for each size of a cell. */
function maskOf (cell: number): HTMLCanvasElement {
  const found = masks.get(cell)
  if (found) return found
  const mask = document.createElement('canvas')
  mask.width = mask.height = cell * SIDE
  const context = mask.getContext('2d')!
  context.fillStyle = GAP
  context.fillRect(0, 0, mask.width, mask.width)
  context.globalCompositeOperation = 'destination-out'
  context.beginPath()
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [left, top] = [(x + 0.5) * cell, (y + 0.5) * cell]
      context.moveTo(left + cell * RADIUS, top)
      context.arc(left, top, cell * RADIUS, 0, 2 * Math.PI)
    }
  }
  context.fill()
  if (masks.size >= MAX_MASKS) masks.clear()
  masks.set(cell, mask)
  return mask
}
