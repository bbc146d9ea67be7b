/** JSON in ASCII only, for a title: TAP is read line by line. */
export function quoted (text: string): string {
  return JSON.stringify(text).replace(/[^ -~]/g, character =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
