import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient, MongoServerError, type Db, type Document, type MongoClientOptions } from 'mongodb'
import type { Test } from 'tap'
import { startMongo, type MongoOptions, type MongoServer } from '../server.js'

/** Makes a directory that is removed when the test ends. */
export function scratch (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'embedded-mongo-'))
  t.teardown(() => { rmSync(path, { recursive: true, force: true }) })
  return path
}

/** Starts a server for this test and connects the official driver to it. Both close when the test ends. */
export async function start (
  t: Test,
  options: Partial<MongoOptions> = {},
  clientOptions: MongoClientOptions = {}
): Promise<{
  server: MongoServer
  client: MongoClient
  db: Db
}> {
  const server = await startMongo({ path: scratch(t), isDurable: false, ...options })
  const client = await connect(t, server.uri, clientOptions)
  t.teardown(() => server.close())
  return { server, client, db: client.db('test') }
}

export async function connect (t: Test, uri: string, options: MongoClientOptions = {}): Promise<MongoClient> {
  const client = new MongoClient(uri, { serverSelectionTimeoutMS: 5000, ...options })
  t.teardown(() => client.close())
  return await client.connect()
}

/** Types as they are on the wire, without the driver's conversions. */
export const exact = { promoteValues: false, promoteLongs: false, bsonRegExp: true } as const

/** The code, name and message of the server's error; the code `none` without one. */
export const failure = async (promise: Promise<unknown>): Promise<Document> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof MongoServerError) {
      return { code: error.code, codeName: error.codeName, message: error.message, ...error.errorResponse }
    }
    throw error
  }
  return { code: 'none' }
}

/** The result of `explain` for a query: the stages from the top, and the numbers of documents and keys examined. */
export async function explained (cursor: { explain: () => Promise<unknown> }): Promise<{
  stages: string[]
  index: string | undefined
  docs: number
  keys: number
}> {
  const reply = await cursor.explain() as {
    queryPlanner: { winningPlan: Stage }
    executionStats: { totalDocsExamined: number, totalKeysExamined: number }
  }
  const stages: Stage[] = []
  for (let stage: Stage | undefined = reply.queryPlanner.winningPlan; stage !== undefined; stage = stage.inputStage) {
    stages.push(stage)
  }
  return {
    stages: stages.map(({ stage }) => stage),
    index: stages.at(-1)?.indexName,
    docs: reply.executionStats.totalDocsExamined,
    keys: reply.executionStats.totalKeysExamined
  }
}

interface Stage { stage: string, indexName?: string, inputStage?: Stage }
