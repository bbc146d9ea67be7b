import { Int32 } from 'bson'
import type { Command, CommandTable } from './types.js'

/** The wire version of MongoDB 7.0, whose behaviour this server follows. */
const WIRE_VERSION = 21

/**
 * Answers as the primary of a replica set of one, so that drivers retry writes and use sessions (Server Discovery and
 * Monitoring). Without `topologyVersion` they poll instead of streaming.
 */
const hello: Command = {
  fields: undefined,
  run: ({ name, connectionId, body }, { address, now }) => ({
    ...(name === 'hello' ? { isWritablePrimary: true } : { ismaster: true }),
    ...(body.has('helloOk') ? { helloOk: true } : {}),
    setName: 'embedded',
    secondary: false,
    hosts: [address],
    primary: address,
    me: address,
    maxBsonObjectSize: 16 * 1024 * 1024,
    maxMessageSizeBytes: 48_000_000,
    maxWriteBatchSize: 100_000,
    localTime: now(),
    logicalSessionTimeoutMinutes: 30,
    connectionId,
    minWireVersion: new Int32(0),
    maxWireVersion: WIRE_VERSION
  })
}

const empty: Command = { fields: [], run: () => ({}) }

const configureFailPoint: Command = {
  fields: ['mode', 'data'],
  run: ({ body }, { failPoints }) => ({ count: failPoints.configure(body) })
}

/** Commands that clients send before and beside their work. */
export const handshake: CommandTable = { hello, ismaster: hello, ping: empty, endSessions: empty, configureFailPoint }
