import { hue, scaled } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 64
/** Few colours make a small file. */
const SHADES = 48

/** Waves that cross, in all colours of the rainbow. */
export const plasma: Animation = {
  width: SIDE,
  height: SIDE,
  frames: 32,
  delayCs: 7,
  paint (frame) {
    const turn = frame / 32
    const time = turn * 2 * Math.PI
    return (x, y) => {
      const [u, v] = [x / SIDE * 2 * Math.PI, y / SIDE * 2 * Math.PI]
      const wave = Math.sin(u + time) + Math.sin(v - time) + Math.sin((u + v) * 0.7 + Math.sin(time)) +
        Math.sin(Math.hypot(u - Math.PI, v - Math.PI) * 2 - time)
      const shade = Math.round(wave / 4 * SHADES) / SHADES
      return scaled(hue(shade + turn), 0.6 + 0.4 * Math.cos(shade * 4 * Math.PI))
    }
  }
}
