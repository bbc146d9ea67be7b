import { parentPort, workerData } from 'node:worker_threads'
import type { MongoOptions } from '../mongo-emulator/server.js'
import type { S3Options } from '../s3-emulator/server.js'

export type Task =
  | { kind: 'mongo', options: Pick<MongoOptions, 'path' | 'port'> }
  | { kind: 's3', options: Pick<S3Options, 'path' | 'port' | 'bucket' | 'region' | 'credentials'> }

export type Report =
  | { ready: { port: number, address: string } }
  | { failed: { message: string, portTaken: boolean } }

interface Running { report: { port: number, address: string }, close: () => Promise<void> }

/** The body of a worker: runs one emulator until the first message asks it to end. */
async function work (task: Task): Promise<void> {
  try {
    const { report, close } = await start(task)
    parentPort?.once('message', async () => {
      await close()
      parentPort?.close()
    })
    post({ ready: report })
  } catch (error) {
    post({ failed: { message: error instanceof Error ? error.message : String(error), portTaken: isPortTaken(error) } })
    parentPort?.close()
  }
}

async function start (task: Task): Promise<Running> {
  if (task.kind === 'mongo') {
    const { startMongo } = await import('../mongo-emulator/server.js')
    const { port, uri, close } = await startMongo(task.options)
    return { report: { port, address: uri }, close }
  }
  const { startS3 } = await import('../s3-emulator/server.js')
  const { port, endpoint, close } = await startS3(task.options)
  return { report: { port, address: endpoint }, close }
}

function isPortTaken (error: unknown): boolean {
  const codes = [error, (error as Error | undefined)?.cause].map(item =>
    (item as NodeJS.ErrnoException | undefined)?.code)
  return codes.includes('EADDRINUSE')
}

function post (report: Report): void {
  parentPort?.postMessage(report)
}

await work(workerData as Task)
