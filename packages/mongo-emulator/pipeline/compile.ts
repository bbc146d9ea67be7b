import { CommandError } from '../errors.js'
import { isDoc, type Value } from '../values.js'
import { stages } from './stages.js'
import type { PipelineContext, Stage } from './types.js'

/**
 * Compiles a pipeline (MongoDB manual, "Aggregation Stages"). Throws CommandError 40324 for a stage this server does
 * not know.
 */
export function compilePipeline (pipeline: Value[], context: PipelineContext): Stage {
  const compiled = pipeline.map(stage => {
    const [name, operand] = stageOf(stage)
    const factory = Object.hasOwn(stages, name) ? stages[name] : undefined
    if (name === '$changeStream') throw new CommandError(40573, 'change streams are not supported by this server')
    if (factory === undefined) throw new CommandError(40324, `Unrecognized pipeline stage name: '${name}'`)
    return factory(operand, { ...context, compile: compilePipeline })
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
