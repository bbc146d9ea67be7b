import { fill } from './dom.js'

const messages = document.getElementById('messages')!

/**
 * Opens a dialog over the page. The messages go with it, because what lies behind a modal dialog is not read out.
 */
export function openDialog (dialog: HTMLDialogElement, ...children: Node[]): void {
  fill(dialog, ...children, messages)
  dialog.onclose = () => {
    if (dialog.open) return // opened again before this event came
    (document.querySelector('dialog[open]') ?? document.body).append(messages)
    dialog.replaceChildren()
  }
  dialog.showModal()
}
