import { setFlagsFromString } from 'node:v8'

/**
 * Lets the heap of this process grow to twice its live data before a full collection. Node allocates 64 KiB for each
 * read of a socket, and V8 counts that as heap. After some seconds of idleness, V8 by default runs a full collection
 * for every 10 to 20 MB of an upload, which costs more than the upload (bench/README.md).
 */
export function growHeapGenerously (): void {
  setFlagsFromString('--heap-growing-percent=100')
}
