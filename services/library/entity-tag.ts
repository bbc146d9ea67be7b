import { createHash } from 'node:crypto'

/** The weak entity tag of an answer's bytes (RFC 9110 §8.8.3). */
export const weakTag = (bytes: string | Buffer) => `W/"${createHash('sha1').update(bytes).digest('base64')}"`

/** Whether `If-None-Match` names an entity tag, by the weak comparison (RFC 9110 §8.8.3.2, §13.1.2). */
export const namesTag = (ifNoneMatch: string, tag: string) =>
  ifNoneMatch.trim() === '*' || opaqueTags(ifNoneMatch).includes(opaqueTags(tag)[0]!)

const opaqueTags = (text: string): string[] => text.match(/"[^"]*"/g) ?? []
