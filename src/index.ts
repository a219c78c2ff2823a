// Manyhands for embedding: the public names, written by hand.
export type { AskFailure } from './failures.ts'
