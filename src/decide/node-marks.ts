import type { UpstreamNode } from '../model/upstream.ts';

/** What a node carries for one backend. */
export interface MarkedWeight {
  /** The mark of the backend: see `backendMarks`. */
  readonly mark: string;
  /** The part of the node's weight that comes from this backend. */
  readonly weight: number;
}

const ENTRY = /^([0-9a-f]{8})(?::(\d{1,5}))?$/;
/** Longer than any mark of 16 backends. Another client may write any text. */
const MAX_LENGTH = 400;

const NO_MARKS: readonly MarkedWeight[] = [];

/** What `node` carries for its backends; empty without a mark, or with a mark that the operator did not write. */
export function markedWeights({ backendMark, weight }: UpstreamNode): readonly MarkedWeight[] {
  if (backendMark === undefined || backendMark.length > MAX_LENGTH) return NO_MARKS;
  const entries = backendMark.split(',').map((entry) => ENTRY.exec(entry));
  return entries.flatMap((entry) => {
    const [, mark, part] = entry ?? [];
    return mark === undefined ? [] : [{ mark, weight: part === undefined ? weight : Number(part) }];
  });
}

/** The mark of a node that is the union of two nodes at one place; undefined if neither has a mark. */
export function mergedMark(a: UpstreamNode, b: UpstreamNode): string | undefined {
  if (a.backendMark === undefined && b.backendMark === undefined) return undefined;
  const parts = new Map<string, number>();
  for (const { mark, weight } of [...markedWeights(a), ...markedWeights(b)]) {
    parts.set(mark, (parts.get(mark) ?? 0) + weight);
  }
  const total = a.weight + b.weight;
  const [only] = parts;
  if (only === undefined) return undefined;
  // Without an explicit part, the mark stays the same while the weight of the node changes.
  if (parts.size === 1 && only[1] === total) return only[0];
  return [...parts]
    .sort(([mark], [other]) => (mark < other ? -1 : 1))
    .map(([mark, weight]) => `${mark}:${weight}`)
    .join();
}
