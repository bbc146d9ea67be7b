/**
 * Does the same work by each way in turn, in a new random order in each round, so that other load of the machine, and
 * what one way leaves behind for the next, affect all alike. Resolves with the results of `measure`, one list for each
 * way.
 */
export async function interleaved (rounds, ways, measure) {
  const results = ways.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const i of shuffled([...ways.keys()])) results[i].push(await measure(ways[i], round))
  }
  return results
}

/** The values in a random order. */
export const shuffled = values => values.map(value => ({ value, place: Math.random() }))
  .sort((a, b) => a.place - b.place).map(({ value }) => value)

export function median (numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The median over rounds of A's figure divided by B's of the same round. */
export const ratio = (ours, theirs) => median(ours.map((value, i) => value / theirs[i]))

/** Prints a table in Markdown on stdout. */
export function printTable (title, columns, rows) {
  const line = cells => `| ${cells.join(' | ')} |`
  console.log(
    [
      '',
      `### ${title}`,
      '',
      line(columns),
      line(columns.map((_, i) => i === 0 ? '---' : '--:')),
      ...rows.map(line)
    ].join(
      '\n'
    )
  )
}

/** Prints a goal of the project, and whether it is met, on stdout. */
export function printGoal (met, sentence) {
  console.log(`${met ? 'met   ' : 'MISSED'}  ${sentence}`)
}
