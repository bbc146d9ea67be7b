import type { Span } from '@opentelemetry/api'
import fp from 'fastify-plugin'
import type { CommandStartedEvent } from 'mongodb'
import type { SpanFacts } from '../services/ports.js'

/**
 * Each command that a request sends to the database has a span, by the driver's events. Its filter and values are not
 * in it: they hold phone numbers.
 */
export default fp(async function databaseSpans (app) {
  const { tracing, mongo: { client } } = app
  if (!tracing) return
  /** By the driver's id of the command. Each command has one event at its end. */
  const open = new Map<number, Span>()
  client.on('commandStarted', event => {
    const span = tracing.start({ name: nameOf(event), kind: 'client', attributes: attributesOf(event) })
    if (span) open.set(event.requestId, span)
  })
  client.on('commandSucceeded', ({ requestId }) => end(requestId))
  client.on('commandFailed', ({ requestId, failure }) => {
    const span = open.get(requestId)
    if (span) tracing.markFailed(span, failure.name)
    end(requestId)
  })

  function end (requestId: number): void {
    open.get(requestId)?.end()
    open.delete(requestId)
  }
}, { name: 'database-spans', dependencies: ['mongo', 'tracing'] })

const nameOf = (event: CommandStartedEvent) => [event.commandName, collectionOf(event) ?? []].flat().join(' ')

/** The names are those of OpenTelemetry's semantic conventions for databases. */
function attributesOf (event: CommandStartedEvent): SpanFacts['attributes'] {
  const collection = collectionOf(event)
  const [, host = '', port] = /^(.*):(\d+)$/.exec(event.address) ?? []
  return {
    'db.system.name': 'mongodb',
    'db.namespace': event.databaseName,
    'db.operation.name': event.commandName,
    ...(collection !== undefined && { 'db.collection.name': collection }),
    'server.address': host,
    'server.port': Number(port)
  }
}

/** Undefined for a command that belongs to no collection. */
function collectionOf ({ command, commandName }: CommandStartedEvent): string | undefined {
  const name: unknown = commandName === 'getMore' ? command.collection : command[commandName]
  return typeof name === 'string' ? name : undefined
}
