// Holds SQL against CockroachDB's own grammar. Standard input: statements, each ended by ';' at a line's end. Standard output: a
// line for each that does not parse, with why, and as the last line "N parsed, N failed". Exit code 1 where any fails, or where
// there was none to parse.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/cockroachdb-parser/pkg/sql/parser"
)

func main() {
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(make([]byte, 0, 64*1024), 16*1024*1024)
	var statement strings.Builder
	parsed, failed := 0, 0
	check := func(sql string) {
		if strings.TrimSpace(sql) == "" {
			return
		}
		statements, err := parser.Parse(sql)
		switch {
		case err != nil:
			failed++
			fmt.Printf("%v: %s\n", err, sql)
		case len(statements) != 1:
			failed++
			fmt.Printf("%d statements in one: %s\n", len(statements), sql)
		default:
			parsed++
		}
	}
	for scanner.Scan() {
		line := scanner.Text()
		if strings.HasSuffix(line, ";") {
			statement.WriteString(strings.TrimSuffix(line, ";"))
			check(statement.String())
			statement.Reset()
			continue
		}
		statement.WriteString(line + "\n")
	}
	if err := scanner.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	check(statement.String())
	fmt.Printf("%d parsed, %d failed\n", parsed, failed)
	if failed > 0 || parsed == 0 {
		os.Exit(1)
	}
}
