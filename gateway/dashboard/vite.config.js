import { defineConfig } from 'vite';

// The gateway serves what is built: one document, one script, one style sheet. Nothing in them depends
// on the machine that builds, so that CI can compare.
export default defineConfig({
  base: './',
  build: { target: 'es2022', modulePreload: false, sourcemap: false },
  server: { proxy: { '/api': 'http://127.0.0.1:8080' } },
});
