import type { Environment } from '../expressions/types.js'
import type { Doc, Value } from '../values.js'

/** Turns one stream of documents into another. */
export type Stage = (input: Iterable<Doc>) => Iterable<Doc>

/** The services that stages need beyond their input. */
export interface PipelineContext {
  environment: Environment
  /** The documents of another collection of the same database that satisfy a filter. */
  query: (collection: string, filter: Doc, environment: Environment) => Iterable<Doc>
}

/** The context of a stage, and the compiler for pipelines within it. */
export interface StageContext extends PipelineContext {
  compile: (pipeline: Value[], context: PipelineContext) => Stage
}
