import { hue, mixed, scaled, WHITE } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 64
/** The gun fires a glider every 30 generations. */
const PERIOD = 30
/** What leaves the picture must not come back before the glow of the first frame is complete. */
const MARGIN = 60
const BOARD = SIDE + 2 * MARGIN
const WARM_UP = 8 * PERIOD
/** Generations for which a cell glows after its end. */
const GLOW = 14

const GUN = [
  '........................O...........',
  '......................O.O...........',
  '............OO......OO............OO',
  '...........O...O....OO............OO',
  'OO........O.....O...OO..............',
  'OO........O...O.OO....O.O...........',
  '..........O.....O.......O...........',
  '...........O...O....................',
  '............OO......................'
]
const [LEFT, TOP] = [8, 8]

/** Conway's game of life: two of Gosper's glider guns. A cell glows for a while after its end. */
export const life: Animation = {
  width: SIDE,
  height: SIDE,
  frames: PERIOD,
  delayCs: 8,
  paint (frame) {
    const ages = history()[frame]!
    return (x, y) => {
      const age = ages[(y + MARGIN) * BOARD + x + MARGIN]!
      const turn = x > y ? 0.36 : 0.86
      if (age === 0) return mixed(hue(turn), WHITE, 0.35)
      return scaled(hue(turn + 0.03 * age), age > GLOW ? 0 : 0.75 * (1 - age / (GLOW + 1)) ** 1.3)
    }
  }
}

let played: Uint8Array[] | undefined

/** For each frame and cell: how many generations ago it lived, at most 255. */
function history (): Uint8Array[] {
  if (played) return played
  let alive = new Uint8Array(BOARD * BOARD)
  for (const [y, row] of GUN.entries()) {
    for (const [x, cell] of [...row].entries()) {
      if (cell !== 'O') continue
      const at = (y + TOP + MARGIN) * BOARD + x + LEFT + MARGIN
      alive[at] = alive[BOARD * BOARD - 1 - at] = 1
    }
  }
  const ages = new Uint8Array(BOARD * BOARD).fill(255)
  played = []
  for (let generation = 0; generation < WARM_UP + PERIOD; generation++) {
    for (let i = 0; i < ages.length; i++) ages[i] = alive[i] ? 0 : Math.min(255, ages[i]! + 1)
    if (generation >= WARM_UP) played.push(ages.slice())
    alive = next(alive)
  }
  return played
}

function next (alive: Uint8Array): Uint8Array<ArrayBuffer> {
  const born = new Uint8Array(alive.length)
  for (let y = 1; y < BOARD - 1; y++) {
    for (let x = 1, i = y * BOARD + 1; x < BOARD - 1; x++, i++) {
      const around = alive[i - BOARD - 1]! + alive[i - BOARD]! + alive[i - BOARD + 1]! + alive[i - 1]! + alive[i + 1]! +
        alive[i + BOARD - 1]! + alive[i + BOARD]! + alive[i + BOARD + 1]!
      born[i] = around === 3 || (around === 2 && alive[i] === 1) ? 1 : 0
    }
  }
  return born
}
