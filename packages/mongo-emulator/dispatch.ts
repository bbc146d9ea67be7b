import { commands, genericFields } from './commands/table.js'
import type { Command, Reply, Request, Services } from './commands/types.js'
import { maxTimeOf, within } from './deadline.js'
import { CommandError, codeName } from './errors.js'
import type { Failure } from './fail-points.js'
import { toDoc, type Doc } from './values.js'

/**
 * Runs one command and returns MongoDB's document for it, an error included. Never throws.
 * A command that writes is one transaction: on return all of it is on disk, or nothing.
 */
export function dispatch (request: Request, services: Services, failure: Failure | undefined): Doc {
  try {
    const command = commandOf(request)
    if (failure?.error !== undefined) throw failure.error
    const reply = within(maxTimeOf(request.body.get('maxTimeMS')), () => runCommand(command, request, services))
    return toDoc({ ...reply, ok: 1 })
  } catch (error) {
    return errorReply(error)
  }
}

function runCommand (command: Command, request: Request, services: Services): Reply {
  checkRequest(command, request)
  if (command.writes !== true) return command.run(request, services)
  return services.catalog.transaction(() => command.run(request, services))
}

function commandOf ({ name }: Request): Command {
  const command = commands.get(name)
  if (command === undefined) throw new CommandError(59, `no such command: '${name}'`)
  return command
}

function checkRequest ({ fields }: Command, request: Request): void {
  const { name, body } = request
  if (fields !== undefined) {
    for (const field of body.keys()) {
      if (field !== name && !fields.includes(field) && !genericFields.has(field)) {
        throw new CommandError(40415, `BSON field '${name}.${field}' is an unknown field.`)
      }
    }
  }
}

function errorReply (error: unknown): Doc {
  const known = error instanceof CommandError
    ? error
    : new CommandError(1, error instanceof Error ? error.message : String(error))
  const reply = toDoc({ ok: 0, errmsg: known.message, code: known.code, codeName: codeName(known.code) })
  return new Map([...reply, ...known.details ?? []])
}
