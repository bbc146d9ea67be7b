import { randomUUID } from 'node:crypto'
import { Binary, UUID } from 'bson'
import { CommandError } from '../errors.js'
import { isDoc, type Value } from '../values.js'
import type { Command, CommandTable } from './types.js'

const list = (name: string): Command => ({
  fields: [],
  run: ({ body }, { cursors }) => {
    const sessions = body.get(name)
    if (name !== 'refreshSessions' && Array.isArray(sessions)) {
      sessions.forEach(session => { cursors.killSession(idOf(session)) })
    }
    return {}
  }
})

function idOf (session: Value): string {
  const id = isDoc(session) ? session.get('id') : undefined
  return id instanceof Binary ? id.toString('hex') : ''
}

const noTransaction = (name: string): Command => ({
  fields: ['recoveryToken'],
  run: () => {
    throw new CommandError(251, `${name}: transactions are not supported by this server, so none is in progress`)
  }
})

export const sessionCommands: CommandTable = {
  startSession: { fields: [], run: () => ({ id: { id: new UUID(randomUUID()) }, timeoutMinutes: 30 }) },
  endSessions: list('endSessions'),
  killSessions: list('killSessions'),
  refreshSessions: list('refreshSessions'),
  commitTransaction: noTransaction('commitTransaction'),
  abortTransaction: noTransaction('abortTransaction'),
  configureFailPoint: {
    fields: ['mode', 'data'],
    adminOnly: true,
    run: ({ body }, { failPoints }) => ({ count: failPoints.configure(body) })
  }
}
