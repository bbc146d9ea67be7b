import { MongoClient, type Db } from 'mongodb'
import type { Test } from 'tap'
import { migrateCommand } from '../../cli/commands/migrate.js'
import { startServices, type Services } from './backends.js'
import { endOf } from './command.js'
import { fillFrom030, fillOldDatabase } from './old-database.js'
import { runProgram, type Ended } from './server-process.js'

/** Runs `npm run migrate` with this address of a database. */
export async function run (uri: string | undefined, args: string[] = []) {
  return withLines(await endOf(migrateCommand, args, uri === undefined ? {} : { MONGO_URI: uri }))
}

/** Runs the program in a process of its own, to its end, or kills it after this many lines of output. */
export async function runProcess (
  uri: string,
  { env = {}, killAfterLines }: { env?: Record<string, string>, killAfterLines?: number } = {}
) {
  return withLines(await runProgram('cli/migrate.js', [], { ...env, MONGO_URI: uri }, { killAfterLines }))
}

function withLines (ended: Ended): Ended & { lines: string[] } {
  return { ...ended, lines: ended.stdout.split('\n').slice(0, -1) }
}

/** The facts of a report, one for each subject. They do not depend on the order and the lines of the report. */
export const facts = (lines: string[]) => [...new Set(lines.slice(0, -1).flatMap(line => {
  const [subject, rest = ''] = line.split(/: (.*)/s)
  return rest.split('; ').map(fact => `${subject}: ${fact}`)
}))].sort()

/** A database as the replaced system left it. */
export async function oldDatabase (t: Test, options = {}): Promise<{ uri: string, db: Db }> {
  const { mongoUri: uri } = await startServices(t)
  const db = (await connected(t, uri)).db()
  await fillOldDatabase(db, options)
  return { uri, db }
}

/** A database of 0.3.0. */
export async function databaseOf030 (t: Test): Promise<{ services: Services, db: Db }> {
  const services = await startServices(t)
  const db = (await connected(t, services.mongoUri)).db()
  await fillFrom030(db)
  return { services, db }
}

/** Connects to a database, which is dropped when `t` ends. */
export async function connected (t: Test, uri: string): Promise<MongoClient> {
  const client = await new MongoClient(uri).connect()
  t.teardown(async () => {
    await client.db().dropDatabase()
    await client.close()
  })
  return client
}
