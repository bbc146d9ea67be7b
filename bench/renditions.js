import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { playfulGif, photo } from './harness/files.js'
import { start } from './harness/processes.js'
import { interleaved, median, printTable, ratio } from './harness/rounds.js'

const SERVICE = { name: 'the service: facts and rendition', way: 'service' }
const QUICK = { name: 'sharp, `effort: 1`, `dither: 0`', way: 'quick' }
const DEFAULT = { name: 'sharp as it comes', way: 'default' }
const DECODING = { name: 'decode and resize, nothing encoded', way: 'decode' }
const GIFSICLE = { name: 'gifsicle, `--resize-fit 64x64 -O2`', way: 'gifsicle' }

/** CPU and bytes of a 64×64 rendition, made by the service and by other tools. */
export async function renditions ({ quick }) {
  const folder = await mkdtemp(join(tmpdir(), 'hookaba-bench-'))
  const maker = await start('pictures.js', { measured: true })
  const rounds = quick ? 2 : 9
  if (!maker.gifsicle) console.log('\nNOT TRIED: gifsicle, because it is not on PATH')
  try {
    const gif = join(folder, 'playful.gif')
    await writeFile(gif, await playfulGif())
    await compare(
      maker,
      'GIF, 500×500, 60 frames',
      gif,
      [SERVICE, QUICK, DEFAULT, DECODING, ...(maker.gifsicle ? [GIFSICLE] : [])],
      rounds
    )
    const jpeg = join(folder, 'photo.jpg')
    await writeFile(jpeg, await photo())
    await compare(maker, 'JPEG, 1600×1200', jpeg, [SERVICE, QUICK, DEFAULT, DECODING], rounds)
  } finally {
    await maker.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function compare ({ make }, name, path, ways, rounds) {
  for (const { way } of ways) await make(way, path)
  const runs = await interleaved(rounds, ways, ({ way }) => make(way, path))
  const cpu = runs.map(list => list.map(({ milliseconds }) => milliseconds))
  printTable(`${name} (${rounds} rounds)`, ['way', 'CPU ms', '× the service', 'bytes', 'frames'], ways.map((way, i) => [
    way.name,
    median(cpu[i]).toFixed(0),
    ratio(cpu[i], cpu[0]).toFixed(2),
    runs[i][0].bytes,
    runs[i][0].frames
  ]))
}
