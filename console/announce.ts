import { h } from './dom.js'
import { Refusal } from './refusal.js'

const news = document.getElementById('news')!
const trouble = document.getElementById('trouble')!
const close = document.getElementById('hush')!
close.ariaLabel = 'Close the message'
close.addEventListener('click', hush)

/** Says that something is done. Screen readers read it when they are free. */
export function announce (sentence: string): void {
  trouble.replaceChildren()
  news.replaceChildren(h('p', {}, sentence))
  close.hidden = false
}

/** Says that something failed. Screen readers read it at once. It stays until the next news. */
export function complain (error: unknown): void {
  news.replaceChildren()
  trouble.replaceChildren(h('p', {}, sentenceOf(error)))
  close.hidden = false
}

export function hush (): void {
  news.replaceChildren()
  trouble.replaceChildren()
  close.hidden = true
}

/** Runs a task and says in a sentence when it fails. Resolves with undefined then. */
export async function attempt<T> (task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task()
  } catch (error) {
    complain(error)
    return undefined
  }
}

function sentenceOf (error: unknown): string {
  if (error instanceof Refusal) return error.message
  console.error(error)
  return 'Something in this page failed. Reload it and try again.'
}
