import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

describe('images of the README', () => {
  const paths = [...read('README.md').matchAll(/ (?:src|srcset)="([^"]+)"/g)].map(([, path = '']) => path);

  it('exist, which the link checker does not check for HTML elements', () => {
    expect(paths).toHaveLength(2);
    expect(paths.filter((path) => !existsSync(new URL(`../../${path}`, import.meta.url)))).toEqual([]);
  });

  it('differ only in their colors between the light and the dark theme', () => {
    const [light, dark] = ['light', 'dark'].map((theme) =>
      read(`docs/images/architecture-${theme}.svg`).replaceAll(/#[0-9a-f]{6}\b/g, '#'),
    );
    expect(dark).toBe(light);
  });
});
