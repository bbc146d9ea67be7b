import { ok } from './answers.js'

/** The ids of the items of a page. */
export const idsOf = ({ items }: { items: Array<{ id: string }> }) => items.map(({ id }) => id)

interface Page {
  status: number
  body: { items: Array<{ id: string }>, page: number, next_cursor: string | null }
}

/** Follows the cursors to the end. */
export async function walk (
  list: (query: string) => Promise<Page>,
  query: string,
  between: () => Promise<unknown> = async () => {}
): Promise<string[][]> {
  const pages: string[][] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const answer: Page = await ok(list(`?${query}${cursor && `&cursor=${cursor}`}`))
    pages.push(idsOf(answer.body))
    if (pages.length > 500) throw new Error('the walk has no end')
    cursor = answer.body.next_cursor
    await between()
  }
  return pages
}
