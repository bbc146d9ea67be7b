import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import pLimit from 'p-limit'
import type { Fit } from '../../schemas/library.js'
import { damagedImage, isDamage, outOfResources } from '../errors.js'
import type { PictureTimes } from '../ports.js'
import { DECODE_SECONDS } from './limits.js'
import type { Picture, PicturesOptions } from './pictures.js'
import type { PictureAnswer, PictureTask } from './worker.js'

/** An idle thread ends after this many milliseconds, and its memory is free again. */
const IDLE_MS = 60_000
/** For one picture, which is decoded in at most ten seconds and then encoded for every size. */
const WHOLE_MS = 60_000
/** The picture is at fault only if the process used this share of a time limit as CPU time. */
const COMPUTED_SHARE = 0.8

/**
 * Reads pictures as services/pictures/pictures.ts does, in at most `threads` worker threads, first come, first served.
 * Takes the bytes away from the caller. Rejects with damagedImage() for a picture that is at fault, also if it needs
 * too much CPU time. Rejects with outOfResources() if a thread cannot start or dies, if the process was suspended or
 * got too little CPU time, and if the pool closes. A thread that did not answer ends, and the next picture gets a new
 * one.
 */
export function createPicturePool (
  options: PicturesOptions,
  program: URL,
  { threads = availableParallelism(), ...times }: PictureTimes & { threads?: number } = {}
) {
  const { decodeSeconds = DECODE_SECONDS, wholeMs = WHOLE_MS, cpuMs = cpuMsOfProcess } = times
  const limit = pLimit(threads)
  const idle: PictureThread[] = []
  const living = new Set<PictureThread>()
  let closed = false
  return {
    read: (bytes: Buffer<ArrayBuffer>, fit: Fit, sizes = options.sizes) => limit(() => read(bytes, fit, sizes)),
    /** Pictures that are being read, and those that wait for a thread. */
    load: () => ({ active: limit.activeCount, waiting: limit.pendingCount, threads }),
    close
  }

  async function read (bytes: Buffer<ArrayBuffer>, fit: Fit, sizes: string[]): Promise<Picture> {
    let thread: PictureThread | undefined
    try {
      thread = idle.pop() ?? await startThread()
      const begun = cpuMs()
      const answer = await thread.ask({ bytes, fit, ...options, sizes, decodeSeconds }, wholeMs)
      if ('exceededMs' in answer) throw tooSlow(answer.exceededMs, cpuMs() - begun)
      if ('damaged' in answer) throw damagedImage(new Error(answer.damaged))
      return withBuffers(answer.picture)
    } catch (error) {
      throw isDamage(error) ? error : outOfResources(error)
    } finally {
      if (thread?.isFree()) idle.push(thread)
      else thread?.end().catch(() => {})
    }
  }

  async function startThread (): Promise<PictureThread> {
    // a failed thread may still be at work
    while (living.size >= threads) await [...living].find(thread => !thread.isFree())?.end()
    if (closed) throw new Error('the picture pool is closed')
    const thread = createThread(program, () => {
      living.delete(thread)
      if (idle.includes(thread)) idle.splice(idle.indexOf(thread), 1)
    })
    living.add(thread)
    return thread
  }

  async function close (): Promise<void> {
    closed = true
    await Promise.all([...living].map(thread => thread.end()))
  }
}

type PictureThread = ReturnType<typeof createThread>

function createThread (program: URL, onEnd: () => void) {
  // like the process itself, without the loaders of tests
  const worker = new Worker(program, { execArgv: process.execArgv.filter(flag => flag === '--enable-source-maps') })
  const idleTimer = setTimeout(end, IDLE_MS).unref()
  let state: 'free' | 'busy' | 'ended' = 'free'
  worker.on('error', () => { state = 'ended' }) // an open `ask` rejects by itself
  worker.once('exit', () => {
    state = 'ended'
    clearTimeout(idleTimer)
    onEnd()
  })
  return { ask, isFree: () => state === 'free', end }

  /** Rejects if the thread dies. The thread is free again only after an answer. */
  async function ask (task: PictureTask, mostMs: number): Promise<PictureAnswer> {
    const answered = new AbortController()
    const { signal } = answered
    state = 'busy'
    worker.ref()
    idleTimer.refresh()
    try {
      const died = once(worker, 'exit', { signal }).then(([code]) => {
        throw new Error(`the picture thread ended with exit code ${code}`)
      })
      const late = wait(mostMs, undefined, { signal })
      const isAlone = task.bytes.byteLength === task.bytes.buffer.byteLength
      const reply = once(worker, 'message', { signal })
      worker.postMessage(task, isAlone ? [task.bytes.buffer as ArrayBuffer] : [])
      const message = await Promise.race([reply, died, late])
      if (!message) return { exceededMs: mostMs }
      state = 'free'
      return message[0]
    } finally {
      answered.abort()
      worker.unref()
    }
  }

  async function end (): Promise<void> {
    state = 'ended'
    await worker.terminate()
  }
}

/** The picture is at fault only if the process spent the time computing. A suspended process says nothing about it. */
function tooSlow (allowedMs: number, computedMs: number): Error {
  const cause = new Error(
    `not done within ${allowedMs} ms, in which the process computed for ${Math.round(computedMs)} ms`
  )
  return computedMs >= allowedMs * COMPUTED_SHARE ? damagedImage(cause) : cause
}

function cpuMsOfProcess (): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** A thread's answer holds only the bytes of buffers. */
function withBuffers ({ facts, renditions }: Picture): Picture {
  return {
    facts,
    renditions: renditions.map(({ bytes, ...rendition }) => ({ ...rendition, bytes: Buffer.from(bytes) }))
  }
}
