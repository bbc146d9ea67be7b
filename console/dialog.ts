import { fill } from './dom.js'

const messages = document.getElementById('messages')!

/**
 * Opens a dialog over the page. The messages go with it, because what lies behind a modal dialog is not read out.
 */
export function openDialog (dialog: HTMLDialogElement, ...children: Node[]): void {
  fill(dialog, ...children, messages)
  dialog.onclose = () => { clear(dialog) }
  dialog.showModal()
}

/** Closes a dialog. What is announced after it is read out, because the messages are back in the page by then. */
export function closeDialog (dialog: HTMLDialogElement): void {
  dialog.close()
  clear(dialog)
}

function clear (dialog: HTMLDialogElement): void {
  if (dialog.open) return // opened again before the event came
  if (dialog.contains(messages)) (document.querySelector('dialog[open]') ?? document.body).append(messages)
  dialog.replaceChildren()
}
