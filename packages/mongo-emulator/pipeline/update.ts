import { CommandError } from '../errors.js'
import type { Environment } from '../expressions/types.js'
import type { Doc, Value } from '../values.js'
import { compilePipeline, stageOf } from './compile.js'

const allowed = new Set(['$addFields', '$set', '$project', '$unset', '$replaceRoot', '$replaceWith'])

/** Compiles an update given as a pipeline. Only stages that make one document of one are allowed. */
export function compileUpdatePipeline (pipeline: Value[], environment: Environment): (doc: Doc) => Doc {
  for (const stage of pipeline) {
    const [name] = stageOf(stage)
    if (!allowed.has(name)) throw new CommandError(72, `${name} is not allowed to be used within an update`)
  }
  const run = compilePipeline(pipeline, { environment, query: () => [] })
  return doc => [...run([doc])][0] ?? doc
}
