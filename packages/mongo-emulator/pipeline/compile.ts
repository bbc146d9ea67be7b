import { CommandError } from '../errors.js'
import { isDoc, type Doc, type Value } from '../values.js'
import { stages } from './stages.js'

/** Turns one stream of documents into another. */
export type Stage = (input: Iterable<Doc>) => Iterable<Doc>

/**
 * Compiles a pipeline (MongoDB manual, "Aggregation Stages"). Throws CommandError 40324 for a stage this server does
 * not know.
 */
export function compilePipeline (pipeline: Value[], now: Date): Stage {
  const compiled = pipeline.map(stage => {
    const [name, operand] = stageOf(stage)
    const factory = Object.hasOwn(stages, name) ? stages[name] : undefined
    if (factory === undefined) throw new CommandError(40324, `Unrecognized pipeline stage name: '${name}'`)
    return factory(operand, now)
  })
  return input => compiled.reduce((stream, stage) => stage(stream), input)
}

export function stageOf (stage: Value): [string, Value] {
  const [entry, ...others] = isDoc(stage) ? stage : []
  if (!isDoc(stage)) throw new CommandError(14, "Each element of the 'pipeline' array must be an object")
  if (entry === undefined || others.length > 0) {
    throw new CommandError(40323, 'A pipeline stage specification object must contain exactly one field.')
  }
  return entry
}

/** Compiles an update given as a pipeline. The only stage that an update may have here is `$replaceWith`. */
export function compileUpdatePipeline (pipeline: Value[], now: Date): (doc: Doc) => Doc {
  for (const stage of pipeline) {
    const [name] = stageOf(stage)
    if (name !== '$replaceWith') throw new CommandError(72, `${name} is not allowed to be used within an update`)
  }
  const run = compilePipeline(pipeline, now)
  return doc => [...run([doc])][0] ?? doc
}
