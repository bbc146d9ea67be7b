import { MongoClient } from 'mongodb'

interface Fault {
  commands: string[]
  /** Only clients of this name see the fault. */
  appName: string
  errorCode?: number
  closeConnection?: boolean
  /** Only this many commands fail; all, without it. */
  times?: number
  /** This many commands pass first. */
  skip?: number
}

/**
 * Makes the database fail these commands (configureFailPoint). Resolves with a function that heals it. A second fault
 * replaces the first.
 */
export async function failCommands (
  mongoUri: string,
  { commands, appName, times, skip, ...data }: Fault
): Promise<() => Promise<void>> {
  await configure(mongoUri, {
    mode: times !== undefined ? { times } : skip !== undefined ? { skip } : 'alwaysOn',
    data: { failCommands: commands, appName, ...data }
  })
  return () => configure(mongoUri, { mode: 'off' })
}

async function configure (mongoUri: string, fault: object): Promise<void> {
  const client = await new MongoClient(mongoUri).connect()
  try {
    await client.db('admin').command({ configureFailPoint: 'failCommand', ...fault })
  } finally {
    await client.close()
  }
}
