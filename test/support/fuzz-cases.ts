/** How many of `all` cases a suite of random cases runs: a tenth, or all of them where `FUZZ=full`, as in `npm run test:all`. */
export function fuzzCases(all: number): number {
  return process.env['FUZZ'] === 'full' ? all : all / 10;
}
