package docs

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestRender(t *testing.T) {
	const source = "# The `title`\n\nIntroduction.\n\n## A_b c\n\n[in](limits.md#x) [code](../../main.go) [spec](../openapi.json) [all](../adr)\n\n" +
		"## A_b c\n\n||right|\n|-|-:|\n|a|1|\n\n<b>raw</b>\n\n![picture](pictures/p.svg)\n"
	known := func(name string) bool {
		return map[string]bool{"guide/limits.md": true, "adr/README.md": true, "guide/pictures/p.svg": true}[name]
	}
	headings, body, err := render([]byte(source), guideLinks("guide", known))
	if err != nil {
		t.Fatal(err)
	}
	want := []heading{
		{1, "The title", "", "Introduction. "}, {2, "A_b c", "a_b-c", "in code spec all "}, {2, "A_b c", "a_b-c-1", "right a 1 raw  picture "},
	}
	for i := range want {
		got := headings[i]
		if got.text = strings.Join(strings.Fields(got.text), " ") + " "; i < 2 && got != want[i] || got.Anchor != want[i].Anchor {
			t.Errorf("heading %d: got %+v, want %+v", i, got, want[i])
		}
	}
	for _, part := range []string{
		`<a href="/guide/limits#x">in</a> code <a href="/openapi.json">spec</a> <a href="/guide/adr/">all</a>`,
		`<div class="table"><table>`, "<td></td>", `<th align="right">right</th>`, `<img src="/guide/pictures/p.svg" alt="picture">`,
	} {
		if !strings.Contains(string(body), part) {
			t.Errorf("no %s in\n%s", part, body)
		}
	}
	for _, part := range []string{"<b>", "style=", "<h1"} {
		if strings.Contains(string(body), part) {
			t.Errorf("%s in\n%s", part, body)
		}
	}
}

func TestNewGuide_order(t *testing.T) {
	page := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	files := fstest.MapFS{
		"README.md": page("# Start\n\n[z](guide/z.md) [a](guide/a.md) [k](k.md)"), "guide/a.md": page("# A: letter"), "guide/b.md": page("# B"),
		"guide/z.md": page("# Z"), "k.md": page("# K"), "concepts/c.md": page("# C"), "guide/p.svg": page("<svg/>"),
	}
	g, err := newGuide(files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, page := range g.pages {
		names = append(names, page.Name)
	}
	if got := strings.Join(names, " "); got != "Start Z A B C K" || g.files["p.svg"] == nil {
		t.Errorf("got pages %s, files %v", got, g.files)
	}
	files["a.md"] = page("# A again")
	if _, err := newGuide(files); err == nil || !strings.Contains(err.Error(), "/guide/a") {
		t.Errorf("two pages at one path: got error %v", err)
	}
}
