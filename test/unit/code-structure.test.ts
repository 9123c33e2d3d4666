import { describe, expect, it } from 'vitest';
import { cyclesIn, longFunctions } from '../support/code-structure.ts';

const graphOf = (edges: Readonly<Record<string, readonly string[]>>) => new Map(Object.entries(edges));

describe('cyclesIn', () => {
  it('finds no cycle if two files import a third', () => {
    expect(cyclesIn(graphOf({ a: ['b', 'c'], b: ['c'], c: ['zod'] }))).toEqual([]);
  });

  it('finds two files that import each other', () => {
    expect(cyclesIn(graphOf({ a: ['b'], b: ['a'] }))).toEqual([['a', 'b', 'a']]);
  });

  it('finds a file that imports itself', () => {
    expect(cyclesIn(graphOf({ a: ['a'] }))).toEqual([['a', 'a']]);
  });

  it('reports only the files of the cycle, not the files that import it', () => {
    expect(cyclesIn(graphOf({ main: ['a'], a: ['b'], b: ['c'], c: ['a'] }))).toEqual([['a', 'b', 'c', 'a']]);
  });

  it('finds a cycle behind a file that another path visited first', () => {
    expect(cyclesIn(graphOf({ a: ['b', 'c'], b: [], c: ['d'], d: ['c'] }))).toEqual([['c', 'd', 'c']]);
  });
});

describe('longFunctions', () => {
  const body = (lines: number) => Array.from({ length: lines }, (_, line) => `  use(${line});`).join('\n');

  it.each([
    ['a function', `export async function long(a: number): Promise<void> {\n${body(3)}\n}`],
    ['an arrow function', `const long = (a: number) => {\n${body(3)}\n};`],
    ['a method', `class A {\n  long() {\n${body(3)}\n  }\n}`],
    ['a member of an object', `const a = { long: () => {\n${body(3)}\n} };`],
  ])('finds %s with more lines than the limit', (_, source) => {
    expect(longFunctions(source, 4)).toEqual([{ name: 'long', lines: 5 }]);
    expect(longFunctions(source, 5)).toEqual([]);
  });

  it('also counts a nested function by itself', () => {
    const source = `function outer() {\n  const inner = () => {\n${body(3)}\n  };\n}`;
    expect(longFunctions(source, 4)).toEqual([
      { name: 'outer', lines: 7 },
      { name: 'inner', lines: 5 },
    ]);
  });

  it('ignores braces in strings, regular expressions and comments', () => {
    const lines = ['function a() {', "  return '}' + /[{]/; // }", '}', 'const b = 1;'];
    expect(longFunctions(lines.join('\n'), 3)).toEqual([]);
  });

  it('ignores overload signatures, which have no body', () => {
    expect(longFunctions('declare function a(\n  b: number,\n  c: number,\n): void;', 2)).toEqual([]);
  });
});
