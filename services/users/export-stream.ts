import { Readable } from 'node:stream'
import { exportUnderWay } from '../errors.js'

const PIECE_BYTES = 64 * 1024
/** A client that reads nothing for IDLE_MS, or not everything within MAX_MS, loses its turn: its connection ends. */
const IDLE_MS = 15_000
const MAX_MS = 120_000
const RETRY_AFTER_SECONDS = 10

interface Export { at: Date, text: AsyncIterable<string> }

/**
 * Lets one export run at a time in this process, and streams its text as fast as the client reads. 429 while another
 * one runs.
 */
export function createExports () {
  let isRunning = false

  return async function inTurn (begin: () => Promise<Export>): Promise<{ at: Date, text: Readable }> {
    if (isRunning) throw exportUnderWay(RETRY_AFTER_SECONDS)
    isRunning = true
    try {
      const { at, text } = await begin()
      return { at, text: streamed(text, () => { isRunning = false }) }
    } catch (error) {
      isRunning = false
      throw error
    }
  }
}

function streamed (text: AsyncIterable<string>, done: () => void): Readable {
  const end = () => stream.destroy(new Error('the export was not taken in time'))
  const [idle, longest] = [setTimeout(end, IDLE_MS).unref(), setTimeout(end, MAX_MS).unref()]
  const stream = Readable.from(pieces(text, idle), { objectMode: false, highWaterMark: PIECE_BYTES })
  return stream.once('close', () => {
    clearTimeout(idle)
    clearTimeout(longest)
    done()
  })
}

async function * pieces (text: AsyncIterable<string>, idle: NodeJS.Timeout): AsyncGenerator<string, void, undefined> {
  let piece = ''
  for await (const more of text) {
    piece += more
    if (piece.length < PIECE_BYTES) continue
    idle.refresh()
    yield piece
    piece = ''
  }
  yield piece
}
