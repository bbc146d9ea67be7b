/** Red, green and blue: 0 is off, 1 is full. More than 1 is drawn as 1. */
export type Color = readonly [number, number, number]

export const BLACK: Color = [0, 0, 0]
export const WHITE: Color = [1, 1, 1]

export const scaled = ([red, green, blue]: Color, by: number): Color => [red * by, green * by, blue * by]

export const sum = (...colors: Color[]): Color =>
  colors.reduce(([r, g, b], [red, green, blue]) => [r + red, g + green, b + blue], BLACK)

/** `a` at 0, `b` at 1. */
export const mixed = (a: Color, b: Color, at: number): Color => sum(scaled(a, 1 - at), scaled(b, at))

/** A saturated colour of the rainbow. 0 and 1 are red. */
export function hue (turn: number): Color {
  const channel = (shift: number) => clamp(Math.abs(modulo(turn + shift, 1) * 6 - 3) - 1)
  return [channel(0), channel(2 / 3), channel(1 / 3)]
}

export const clamp = (value: number) => Math.min(1, Math.max(0, value))

/** 0 up to `from`, 1 from `to` on, smooth between them (GLSL `smoothstep`). */
export function smooth (from: number, to: number, value: number): number {
  const at = clamp((value - from) / (to - from))
  return at * at * (3 - 2 * at)
}

/** The remainder, never negative. */
export const modulo = (value: number, by: number) => ((value % by) + by) % by

/** The same number from 0 to below 1 for the same n, without a pattern that the eye sees. */
export function scatter (n: number): number {
  let bits = Math.imul(n + 1, 0x9e3779b1)
  bits = Math.imul(bits ^ (bits >>> 15), 0x85ebca6b)
  return ((bits ^ (bits >>> 13)) >>> 0) / 2 ** 32
}
