import { MongoClient } from 'mongodb'
import { mongoRefusal } from './startup-errors.js'

/** Runs `work` with a client connected to `uri`. */
export async function withMongo<T> (uri: string, work: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = await connect(uri)
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

async function connect (uri: string): Promise<MongoClient> {
  try {
    return await new MongoClient(uri, { serverSelectionTimeoutMS: 10_000 }).connect()
  } catch (cause) {
    throw mongoRefusal(uri, cause)
  }
}
