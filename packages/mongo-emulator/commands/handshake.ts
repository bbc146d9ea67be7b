import { hostname, totalmem, type, arch } from 'node:os'
import { Int32 } from 'bson'
import type { Plain } from '../values.js'
import type { Command, CommandTable } from './types.js'

/** The MongoDB release whose behaviour this server follows, and its wire version. */
const VERSION = '7.0.28'
const WIRE_VERSION = 21
export const SET_NAME = 'embedded'

/**
 * Answers as the primary of a replica set of one, so that drivers retry writes and use sessions (Server Discovery and
 * Monitoring). Without `topologyVersion` they poll instead of streaming.
 */
const hello: Command = {
  fields: undefined,
  run: ({ name, connectionId, body }, { address, now }) => ({
    ...(name === 'hello' ? { isWritablePrimary: true } : { ismaster: true }),
    ...(body.has('helloOk') ? { helloOk: true } : {}),
    setName: SET_NAME,
    setVersion: 1,
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
    maxWireVersion: WIRE_VERSION,
    readOnly: false
  })
}

const versionArray = [...VERSION.split('.').map(Number), 0]

const buildInfo: Command = {
  fields: [],
  run: () => ({
    version: VERSION,
    gitVersion: '0'.repeat(40),
    modules: [],
    allocator: 'system',
    javascriptEngine: 'none',
    sysInfo: 'deprecated',
    versionArray,
    bits: 64,
    debug: false,
    maxBsonObjectSize: 16 * 1024 * 1024,
    storageEngines: ['lmdb']
  })
}

const parameters: Record<string, Plain> = {
  featureCompatibilityVersion: { version: '7.0' },
  enableTestCommands: true,
  authenticationMechanisms: []
}

const getParameter: Command = {
  fields: [...Object.keys(parameters), 'allParameters'],
  adminOnly: true,
  run: ({ body }) => {
    const all = body.get('getParameter') === '*'
    return Object.fromEntries(Object.entries(parameters).filter(([name]) => all || body.has(name)))
  }
}

const hostInfo: Command = {
  fields: [],
  run: (_request, { now }) => ({
    system: {
      currentTime: now(),
      hostname: hostname(),
      cpuAddrSize: 64,
      memSizeMB: Math.floor(totalmem() / 2 ** 20),
      cpuArch: arch()
    },
    os: { type: type(), name: type(), version: '' },
    extra: {}
  })
}

const serverStatus: Command = {
  fields: undefined,
  run: (_request, { address, openConnections, startedAt, now, cursors }) => ({
    host: address,
    version: VERSION,
    process: 'mongod',
    pid: BigInt(process.pid),
    uptime: Math.floor((Date.now() - startedAt.getTime()) / 1000) + 0.0,
    localTime: now(),
    connections: { current: openConnections() },
    metrics: { cursor: { open: { total: BigInt(cursors.size) } } },
    storageEngine: { name: 'lmdb', persistent: true },
    repl: {
      setName: SET_NAME,
      isWritablePrimary: true,
      secondary: false,
      hosts: [address],
      me: address,
      primary: address
    }
  })
}

const empty: Command = { fields: [], run: () => ({}) }

/** Commands that clients send before and beside their work. */
export const handshake: CommandTable = {
  hello,
  isMaster: hello,
  ismaster: hello,
  ping: empty,
  buildInfo,
  buildinfo: buildInfo,
  getParameter,
  hostInfo,
  serverStatus,
  getCmdLineOpts: { fields: [], adminOnly: true, run: () => ({ argv: ['mongod'], parsed: {} }) },
  getLog: { fields: [], adminOnly: true, run: () => ({ totalLinesWritten: 0, log: [] }) },
  connectionStatus: {
    fields: ['showPrivileges'],
    run: () => ({ authInfo: { authenticatedUsers: [], authenticatedUserRoles: [] } })
  }
}
