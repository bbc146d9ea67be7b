import { aggregateCommands } from './aggregate.js'
import { collectionCommands } from './collections.js'
import { explainCommands } from './explain.js'
import { findAndModifyCommands } from './find-and-modify.js'
import { findCommands } from './find.js'
import { handshake } from './handshake.js'
import { indexCommands } from './indexes.js'
import type { Command } from './types.js'
import { writeCommands } from './write.js'

/** Every command there is, by name. */
export const commands = new Map<string, Command>([
  handshake,
  collectionCommands,
  indexCommands,
  findCommands,
  writeCommands,
  findAndModifyCommands,
  aggregateCommands,
  explainCommands
].flatMap(table => Object.entries(table)))

/** Fields any command may carry. */
export const genericFields = new Set([
  '$db',
  'lsid',
  'txnNumber',
  '$clusterTime',
  '$readPreference',
  'readConcern',
  'writeConcern',
  'maxTimeMS'
])
