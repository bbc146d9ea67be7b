import { SIDE } from './animation.js'

const GAP = '#050506'
const OFF = '#17191b'
/** The radius of an LED, as a share of its cell. */
const RADIUS = 0.44

const scratch = document.createElement('canvas')
scratch.width = scratch.height = SIDE
const scratchContext = scratch.getContext('2d')!
const masks = new Map<number, HTMLCanvasElement>()

/** Paints a frame as round LEDs on a canvas whose side is a multiple of 64. */
export function paint (context: CanvasRenderingContext2D, frame: ImageData): void {
  const { width } = context.canvas
  scratchContext.putImageData(frame, 0, 0)
  context.imageSmoothingEnabled = false
  context.globalCompositeOperation = 'source-over'
  context.fillStyle = OFF
  context.fillRect(0, 0, width, width)
  context.globalCompositeOperation = 'lighten' // an LED that is off is still seen
  context.drawImage(scratch, 0, 0, width, width)
  context.globalCompositeOperation = 'source-over'
  context.drawImage(maskOf(width / SIDE), 0, 0)
}

/** What lies between the LEDs: a sheet with a round hole for each. Made once for each size of a cell. */
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
  masks.set(cell, mask)
  return mask
}
