/**
 * Does the same work by each way in turn, A B A B …, so that other load of the machine affects all alike. Resolves with
 * the results of `measure`, one list for each way.
 */
export async function interleaved (rounds, ways, measure) {
  const results = ways.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, way] of ways.entries()) results[i].push(await measure(way, round))
  }
  return results
}

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
