import type { Item } from './api.js'

export const date = (iso: string) =>
  new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })

export function bytes (count: number): string {
  if (count < 1000) return `${count} bytes`
  return count < 1e6 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`
}

export const count = (n: number, one: string, many = `${one}s`) => `${n.toLocaleString()} ${n === 1 ? one : many}`

/** The title of an item, or a name for one that has none. */
export function titleOf ({ title, type }: Item): string {
  if (title !== undefined && isVisible(title)) return title
  return type === 'gif' ? 'Animation without a title' : 'Picture without a title'
}

/** Whether a text has a character that is seen. The ones that are taken out are letters and symbols without a shape. */
const isVisible = (text: string) =>
  /[\p{L}\p{N}\p{P}\p{S}]/u.test(text.replace(/[\u115F\u1160\u2800\u3164\uFFA0]/g, ''))

/** A still goes to the bag as a bitmap with 24 bits for each LED. */
export const BITMAP_BYTES = 64 * 64 * 3

/** How long an item takes to the bag. Undefined for an old item that has no rendition. */
export function wayToTheBag ({ renditions }: Item): string | undefined {
  const rendition = renditions?.['64x64']
  if (!rendition) return undefined
  const sent = rendition.content_type === 'image/gif' ? rendition.bytes : BITMAP_BYTES
  return `${bytes(sent)}, ${rendition.ble_seconds} s to the bag`
}
