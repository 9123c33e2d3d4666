import { parseAst } from 'rolldown/parseAst';

/** The files that each file imports, types included. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/** One import cycle per file that closes one, each as the files from the first import to the repeated file. */
export function cyclesIn(graph: ImportGraph): readonly (readonly string[])[] {
  const cycles: string[][] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    const start = path.indexOf(file);
    if (start >= 0) {
      cycles.push([...path.slice(start), file]);
      return;
    }
    if (finished.has(file)) return;
    path.push(file);
    for (const imported of graph.get(file) ?? []) visit(imported);
    path.pop();
    finished.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return cycles;
}

export interface LongFunction {
  readonly name: string;
  readonly lines: number;
}

/** The functions in TypeScript source that have more than `limit` lines; one inside another counts by itself as well. */
export function longFunctions(source: string, limit: number): readonly LongFunction[] {
  const found: LongFunction[] = [];
  const visit = (value: unknown, name: string) => {
    if (Array.isArray(value)) {
      for (const part of value) visit(part, name);
      return;
    }
    if (typeof value !== 'object' || value === null) return;
    const node = value as Readonly<Record<string, unknown>>;
    const { type, start, end, body } = node;
    const ownName = nameOf(node) ?? name;
    if (typeof type === 'string' && /Function/.test(type) && body) {
      const lines = source.slice(Number(start), Number(end)).split('\n').length;
      if (lines > limit) found.push({ name: ownName, lines });
    }
    for (const part of Object.values(node)) visit(part, ownName);
  };
  visit(parseAst(source, { lang: 'ts' }).body, 'anonymous');
  return found;
}

/** The name of a function that is part of `node`. */
function nameOf(node: Readonly<Record<string, unknown>>): string | undefined {
  const named = node['id'] ?? node['key'];
  const name = typeof named === 'object' && named !== null ? (named as { name?: unknown }).name : undefined;
  return typeof name === 'string' ? name : undefined;
}
