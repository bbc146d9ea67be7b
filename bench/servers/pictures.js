/** Makes renditions in several ways, each alone on its core, and reports the CPU time of each. */
import { execFileSync } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import sharp from 'sharp'
import { fitFrames } from '../../dist/services/pictures/fit-frames.js'
import { createPictures } from '../../dist/services/pictures/pictures.js'
import { serveParent } from '../harness/child.js'

const SIZE = 64
/** A measurement lasts at least this long, so that the clock is exact enough. */
const MIN_MS = 40
const resized = bytes => sharp(bytes, { animated: true }).resize(SIZE, SIZE, { fit: 'contain', background: '#000' })
const encoded = (bytes, options) => isGif(bytes) ? resized(bytes).gif(options) : resized(bytes).png()
const isGif = bytes => bytes.toString('latin1', 0, 3) === 'GIF'
const pictures = createPictures({ sizes: [`${SIZE}x${SIZE}`], maxBytes: 98304 })

const WAYS = {
  service: async bytes => (await pictures.read(bytes, 'contain')).renditions[0]?.bytes,
  quick: bytes => encoded(bytes, {
    effort: 1,
    dither: 0,
    interFrameMaxError: 8,
    keepDuplicateFrames: true
  }).toBuffer(),
  default: bytes => encoded(bytes).toBuffer(),
  decode: async bytes => { await resized(bytes).raw().toBuffer() }
}

/**
 * Makes a rendition in one way, again and again, and gives the CPU time of one. The parent waits for it. Describes it
 * if `described`, which leaves garbage.
 */
async function make ({ way, path, described = false }) {
  const bytes = await readFile(path)
  if (way === 'gifsicle') return byGifsicle(bytes, path)
  const before = process.cpuUsage()
  const begun = performance.now()
  let made
  let times = 0
  do {
    made = await WAYS[way](bytes)
    times++
  } while (performance.now() - begun < MIN_MS)
  const { user, system } = process.cpuUsage(before)
  return { milliseconds: (user + system) / 1000 / times, ...described && await factsOf(made, bytes) }
}

/** Runs in a shell of its own. The second line of `times` is the CPU time of the shell's children (POSIX). */
async function byGifsicle (bytes, path) {
  const result = `${path}.64.gif`
  const times = execFileSync('sh', ['-c', 'gifsicle --resize-fit 64x64 -O2 "$1" -o "$2"; times', 'sh', path, result], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore']
  })
  const milliseconds = [...times.trim().split('\n')[1].matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + minutes * 60_000 + seconds * 1000,
    0
  )
  const made = await readFile(result)
  await rm(result)
  return { milliseconds, ...await factsOf(made, bytes) }
}

/** `error` is the mean of the squared errors of all channels against the frames as decoded, shrunk by area. */
async function factsOf (made, original) {
  if (made === undefined) return { bytes: '', frames: '', error: '' }
  const found = await decoded(made)
  const facts = { bytes: made.length, frames: found.count, error: '' }
  if (found.width !== SIZE || found.height !== SIZE) return facts
  const frames = await decoded(original)
  if (frames.count !== found.count) return facts
  const box = { width: SIZE, height: SIZE }
  const wanted = fitFrames(frames, frames, box, 'contain').data
  let squares = 0
  for (let at = 0; at < wanted.length; at++) squares += (wanted[at] - found.data[at]) ** 2
  return { ...facts, error: (squares / wanted.length).toFixed(2) }
}

async function decoded (bytes) {
  const { pages: count = 1 } = await sharp(bytes, { animated: true }).metadata()
  const { data, info: { width, height } } = await sharp(bytes, { animated: true })
    .flatten({ background: '#000' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width, height: height / count, count, data }
}

function hasGifsicle () {
  try {
    execFileSync('gifsicle', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

// the service sets sharp up at its first still: one thread, no cache, and no GIFs, which the others need
await pictures.read(await resized(Buffer.from('<svg width="9" height="9"/>')).png().toBuffer(), 'contain')
sharp.unblock({ operation: ['VipsForeignLoad'] })
serveParent({ gifsicle: hasGifsicle() }, () => ({}), make)
