import type { LibraryDocument, UploadDocument } from '../../schemas/documents.js'
import { png } from './small-pictures.js'

/** The rows and objects of one upload that a killed process leaves. */
export interface Left {
  state?: UploadDocument['state']
  row?: Partial<UploadDocument>
  item?: Partial<LibraryDocument> | boolean
  /** Names in the item's folder. */
  objects?: string[]
  parts?: boolean
  staged?: 'form' | 'posted'
}

export const RENDITIONS = [{ size: '64x64', bytes: png.length, frames: 1, duration_ms: 0 }]
export const ALL = ['original.gif', '64x64.gif']
const whole = { item: { renditions: RENDITIONS }, objects: ALL }

/** All of it is gone after a sweep, unless `kept` says that the item stays. */
export const KILLS: Array<{ when: string, left: Left, kept?: boolean }> = [
  { when: 'before anything is stored', left: { state: 'open' } },
  { when: 'while parts are stored', left: { state: 'open', parts: true } },
  { when: 'when the original is stored', left: { state: 'open', objects: ['original.gif'] } },
  { when: 'when all is stored', left: { state: 'open', objects: ALL } },
  { when: 'before the item is written', left: { state: 'committing', objects: ALL } },
  { when: 'after the item is written', left: { state: 'committing', ...whole }, kept: true },
  { when: 'when a form was handed out', left: { state: 'staged', staged: 'form' } },
  { when: 'when its bytes were posted', left: { state: 'staged', staged: 'posted' } },
  { when: 'while posted bytes are taken over', left: { state: 'open', staged: 'posted', objects: ALL, parts: true } },
  {
    when: 'after the item of posted bytes is written',
    left: { state: 'committing', staged: 'posted', ...whole },
    kept: true
  },
  { when: 'after a failure, before anything is removed', left: { state: 'removing', objects: ALL, parts: true } },
  { when: 'before a removed item\'s row is gone', left: { state: 'removing', ...whole } },
  { when: 'after a removed item\'s row is gone', left: { state: 'removing', objects: ALL } },
  { when: 'after some of a removed item\'s objects are gone', left: { state: 'removing', objects: ['original.gif'] } },
  { when: 'after all of a removed item\'s objects are gone', left: { state: 'removing' } },
  { when: 'as a sweep had claimed what was open', left: { state: 'sweeping', objects: ALL, parts: true } },
  { when: 'as a sweep had removed some objects', left: { state: 'sweeping', objects: ['original.gif'] } },
  { when: 'as a sweep had removed all', left: { state: 'sweeping' } },
  { when: 'as a sweep had claimed a form', left: { state: 'sweeping', staged: 'posted' } },
  { when: 'as a sweep had claimed what was committed', left: { state: 'sweeping', ...whole }, kept: true },
  {
    when: 'as a sweep had begun to remove what was committed just then',
    left: { state: 'sweeping', item: { renditions: RENDITIONS }, objects: ['original.gif'] }
  },
  { when: 'as a sweep had removed what was committed just then', left: { state: 'sweeping', item: true } },
  { when: 'while parts are stored, and a former clean-up lost the row', left: { parts: true } },
  { when: 'when the form was used again after the item was written', left: { staged: 'posted', ...whole }, kept: true }
]
