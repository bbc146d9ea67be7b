import { setFlagsFromString } from 'node:v8'

/**
 * Lets the heap of this process grow to three times of what lives in it before all of it is collected. Node allocates
 * 64 KiB for each read of a socket, which V8 counts as part of
 * the heap: as V8 is after some seconds of idleness, it collects everything for every 10 to 20 MB of an upload, which
 * costs more than the upload (bench/README.md).
 */
export function growHeapGenerously (): void {
  setFlagsFromString('--heap-growing-percent=200')
}
