import fp from 'fastify-plugin'
import type { CommandFailedEvent, CommandSucceededEvent } from 'mongodb'
import { Counter, Gauge, Histogram } from 'prom-client'

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** Counts and times the commands of the database by the driver's events, and shows its connections. */
export default fp(async function databaseMetrics (app) {
  const { client } = app.mongo
  const registers = [app.metrics.registry]
  const duration = new Histogram({
    name: 'hookaba_mongodb_command_duration_seconds',
    help: 'Commands that were sent to MongoDB, by command and outcome',
    labelNames: ['command', 'outcome'],
    buckets: BUCKETS,
    registers
  })
  const unreachable = new Counter({
    name: 'hookaba_mongodb_unreachable_total',
    help: 'Checks of a MongoDB server that failed, and commands for which there was no connection or none was free',
    labelNames: ['reason'],
    registers
  })
  for (const reason of ['heartbeat', 'connection', 'pool_timeout']) unreachable.inc({ reason }, 0)
  app.metrics.registry.registerMetric(new Gauge({
    name: 'hookaba_mongodb_connections',
    help: 'Connections to MongoDB that are in use or idle, and commands that wait for one',
    labelNames: ['state'],
    registers: [],
    collect () {
      this.set({ state: 'in_use' }, inUse)
      this.set({ state: 'idle' }, open.size - inUse)
      this.set({ state: 'waiting' }, waiting)
    }
  }))
  /** Connections that were there before this plugin are known when they are used. */
  const open = new Set<string>()
  let inUse = 0
  let waiting = 0
  client.on('connectionReady', event => { open.add(keyOf(event)) })
  client.on('connectionClosed', event => { open.delete(keyOf(event)) })
  client.on('connectionCheckOutStarted', () => { waiting++ })
  client.on('connectionCheckedOut', event => {
    open.add(keyOf(event))
    waiting--
    inUse++
  })
  client.on('connectionCheckOutFailed', ({ reason }) => {
    waiting--
    unreachable.inc({ reason: reason === 'timeout' ? 'pool_timeout' : 'connection' })
  })
  client.on('connectionCheckedIn', () => { inUse-- })
  client.on('serverHeartbeatFailed', () => unreachable.inc({ reason: 'heartbeat' }))
  client.on('commandSucceeded', event => observe(event, 'ok'))
  client.on('commandFailed', event => observe(event, 'failed'))

  function observe ({ commandName, duration: ms }: CommandSucceededEvent | CommandFailedEvent, outcome: string) {
    duration.observe({ command: commandName, outcome }, ms / 1000)
  }
}, { name: 'database-metrics', dependencies: ['mongo', 'metrics'] })

const keyOf = ({ address, connectionId }: { address: string, connectionId: number | '<monitor>' }) =>
  `${address} ${connectionId}`
